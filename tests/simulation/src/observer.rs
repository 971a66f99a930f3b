//! Checks the events of a worker: every delivery that ended was begun, and every delivery whose outcome is part of a
//! transaction is committed or aborted with it, once. So are its spans, and a repeated delivery has the same ones.

use std::sync::{Arc, Mutex};

use heddle::telemetry::{DeliveryEnded, Event, Measured, Observer, Outcome, Telemetry, Traces};
use heddle_core::batch::Counts;
use heddle_core::event::{Offset, Record, TopicPartition};
use heddle_core::trace::Context;

use crate::world::{World, lock};

/// The events of one worker so far. The first one that does not fit to those before it fails the life.
pub(crate) struct Ledger {
    world: Arc<World>,
    who: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The delivery that has begun and not ended.
    begun: Option<(TopicPartition, Offset)>,
    /// The outcomes that are in the open batch.
    open: Counts,
    /// The outcomes whose commit has begun.
    in_flight: Option<Counts>,
    /// The spans of all deliveries of the open batch, also of attempts that are repeated, and of the one in flight.
    spans: Vec<Context>,
    spans_in_flight: Vec<Context>,
}

impl Ledger {
    /// The telemetry of a worker that has reported nothing yet.
    pub(crate) fn telemetry(world: &Arc<World>, who: &str) -> Telemetry {
        let ledger = Self { world: world.clone(), who: who.to_owned(), state: Mutex::default() };
        // Nothing is exported.
        let traces = world.plan.tracing.map(|tracing| Traces::new(tracing, 1, 1));
        Telemetry::observed_by(world.plan.spec.component.clone(), Arc::new(ledger), traces)
    }
}

impl Observer for Ledger {
    fn observe(&self, _component: &str, event: &Event<'_>) {
        if let Event::DeliveryEnded(DeliveryEnded { record, outcome, trace, .. }) = event {
            self.check(record, *outcome, *trace);
        }
        match lock(&self.state).take(event) {
            Ok(aborted) => self.world.count(|happened| happened.undone_deliveries += aborted),
            Err(why) => self.world.complain(format!("{}: {why}: {event:?}", self.who)),
        }
    }
}

impl Ledger {
    /// Checks that the delivery that decides about a record has the same span whenever it is repeated.
    fn check(&self, record: &Record, outcome: Outcome, span: Option<Context>) {
        let decides = matches!(outcome, Outcome::Handled | Outcome::Skipped | Outcome::DeadLettered);
        if decides && span.is_some() != self.world.plan.tracing.is_some() {
            let (who, source, offset, tracing) = (&self.who, &record.source, record.offset, self.world.plan.tracing);
            self.world
                .complain(format!("{who}: the span of {source}@{offset}\n  found    {span:?}\n  expected {tracing:?}"));
        }
        if let Some(span) = span.filter(|_| decides)
            && let Some(before) = self.world.span(record, span)
        {
            let (who, source, offset) = (&self.who, &record.source, record.offset);
            self.world.complain(format!(
                "{who}: the span of {source}@{offset}, which was delivered before\n  found    {span:?}\n  expected {before:?}"
            ));
        }
    }
}

impl State {
    /// Takes an event. Returns the number of deliveries that it aborts.
    fn take(&mut self, event: &Event<'_>) -> Result<u64, String> {
        match event {
            // What the worker before left open is dropped, and delivered again.
            Event::WorkerJoined(_) => *self = Self::default(),
            Event::DeliveryBegun(event) => {
                let Record { source, offset, .. } = event.record;
                if let Some(before) = self.begun.replace((source.clone(), *offset)) {
                    return Err(format!("{before:?} has not ended when another delivery begins"));
                }
            }
            Event::DeliveryEnded(event) => {
                let Record { source, offset, .. } = event.record;
                if self.begun.take() != Some((source.clone(), *offset)) {
                    return Err("a delivery ended that was not begun".to_owned());
                }
                self.count(event.outcome);
                self.spans.extend(event.trace);
            }
            Event::CommitBegun(event) => {
                if self.in_flight.is_some() {
                    return Err("two commits are in flight".to_owned());
                }
                let open = std::mem::take(&mut self.open);
                if open != outcomes(event.counts) {
                    return Err(format!("the batch has other outcomes than {open:?}"));
                }
                self.in_flight = Some(open);
                self.spans_in_flight = std::mem::take(&mut self.spans);
            }
            Event::CommitEnded(event) => {
                let begun = self.in_flight.take();
                if begun != Some(outcomes(event.counts)) {
                    return Err("a commit ended that was not begun".to_owned());
                }
                if std::mem::take(&mut self.spans_in_flight) != spans(event.measured) {
                    return Err("the committed spans are not those of the deliveries".to_owned());
                }
            }
            Event::TransactionAborted(event) => {
                let mut expected = std::mem::take(&mut self.spans);
                expected.append(&mut self.spans_in_flight);
                let mut found = spans(event.measured);
                [&mut expected, &mut found].into_iter().for_each(|spans| spans.sort_by_key(|span| span.span));
                if expected != found {
                    return Err("the aborted spans are not those of the deliveries".to_owned());
                }
                let in_flight = self.in_flight.take().unwrap_or_default();
                return Ok(all(std::mem::take(&mut self.open)) + all(in_flight));
            }
            _ => {}
        }
        Ok(0)
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Handled => self.open.handled += 1,
            Outcome::Skipped => self.open.duplicates += 1,
            Outcome::Applied => self.open.applied += 1,
            Outcome::Parked(_) => self.open.retried += 1,
            Outcome::DeadLettered => self.open.dead_lettered += 1,
            Outcome::Retried(_) | Outcome::Held => {}
        }
    }
}

/// The parts of the counts that are known from the ends of deliveries.
fn outcomes(counts: Counts) -> Counts {
    Counts { records: 0, again: 0, emitted: 0, unfit: 0, ..counts }
}

/// The contexts of the spans of deliveries.
fn spans(measured: &[Measured]) -> Vec<Context> {
    measured.iter().filter_map(|measured| measured.span.as_ref()).map(|span| span.context).collect()
}

fn all(counts: Counts) -> u64 {
    counts.handled + counts.retried + counts.dead_lettered + counts.duplicates + counts.applied
}
