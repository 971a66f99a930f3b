//! State that is moved to where its keys lead, on a real broker: also if it is interrupted anywhere, and not at all
//! where it would not be right. `topic_changes` has a host that runs before and after it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle::log::kafka::KafkaLog;
use heddle::log::{Log, LogError, MemberOptions, TopicSpec};
use heddle::repartition::{Job, Kind, Plan, RepartitionError};
use heddle::runtime::{KnownTopics, own_topics, task_spec};
use heddle_contract::manifest::Manifest;
use heddle_core::event::{NewRecord, Offset, Partition, Timestamp, Topic, TopicPartition};
use heddle_core::explain::to_text;
use heddle_core::partitioner::partition_of;
use heddle_core::task::TaskSpec;
use heddle_fixtures::kafka::shared;
use heddle_fixtures::{Ended, terminate};

use crate::conformance::harness::copy;
use crate::kafka_log::{assigned, member_options};

const BEFORE: i32 = 2;
const NOW: i32 = 4;
const KEYS: usize = 40;

/// A component with state in two partitions whose input has four.
struct Component {
    log: Arc<dyn Log>,
    known: KnownTopics,
    spec: TaskSpec,
    group: String,
    inputs: Vec<Topic>,
    by_store_key: bool,
    leave_waiting: bool,
    keys: usize,
}

/// The component's manifest.
fn manifest(app: &str) -> String {
    format!(
        "[component]\nname = \"patient\"\nlanguage = \"rust\"\n[consumes.\"{app}-in\"]\nid = \"header:id\"\n[stores.counts]\nvalue = \"Count\"\n[failure]\nretry = [\"1s\"]\n"
    )
}

impl Component {
    fn of(app: &str) -> Self {
        Self::with_keys(app, KEYS)
    }

    fn with_keys(app: &str, keys: usize) -> Self {
        let log: Arc<dyn Log> = Arc::new(KafkaLog::connect(&shared().bootstrap(), &BTreeMap::new()).unwrap());
        let input = format!("{app}-in");
        let manifest = Manifest::parse(&manifest(app), "component.toml").unwrap();
        let spec = task_spec(app, &manifest, []);
        let plain = |name: &str| TopicSpec {
            name: name.into(),
            partitions: BEFORE,
            replication: None,
            options: BTreeMap::new(),
        };
        let topics = [plain(&input), KnownTopics::spec(app)].into_iter().chain(own_topics(&spec, BEFORE));
        for created in log.create_topics(&topics.collect::<Vec<_>>()) {
            created.unwrap();
        }
        let known = KnownTopics::of(log.clone(), app);
        let group = manifest.group(app);
        let this = Self {
            log,
            known,
            spec,
            group,
            inputs: vec![input.into()],
            by_store_key: true,
            leave_waiting: false,
            keys,
        };
        this.fill();
        this.log.add_partitions(&this.inputs[0], NOW).unwrap();
        this
    }

    fn changelog(&self) -> &Topic {
        &self.spec.changelogs[0]
    }

    fn fill(&self) {
        let put = |key: usize, value: Option<&'static str>| {
            let key = Bytes::from(format!("key-{key}"));
            record(self.changelog(), partition_of(&key, BEFORE).0, key, value)
        };
        let keys = 0..self.keys;
        let values = keys.clone().map(|key| put(key, Some("old"))).chain(keys.clone().map(|key| put(key, Some("new"))));
        let deleted = keys.step_by(5).map(|key| put(key, None));
        let ids = (0..BEFORE).map(|partition| {
            record(
                self.spec.seen_changelog.as_ref().unwrap(),
                partition,
                "in".into(),
                Some(["even", "odd"][partition as usize]),
            )
        });
        self.log.append(&values.chain(deleted).chain(ids).collect::<Vec<_>>()).unwrap();
    }

    fn job(&self) -> Job<'_> {
        Job {
            log: self.log.as_ref(),
            known: &self.known,
            spec: &self.spec,
            group: &self.group,
            inputs: &self.inputs,
            by_store_key: self.by_store_key,
            leave_waiting: self.leave_waiting,
            hosts_show: Duration::ZERO,
        }
    }

    fn plan(&self) -> Plan {
        self.job().look().unwrap().unwrap()
    }

    fn refused(&self) -> String {
        match self.job().look() {
            Err(RepartitionError::Refused(why)) => to_text(&why),
            other => panic!("{other:?}"),
        }
    }

    /// Every key has its newest value where it leads to now, and nothing anywhere else. Ids are wherever they may
    /// matter.
    fn is_moved(&self) {
        let mut live = BTreeMap::new();
        for record in copy(&*self.log, self.changelog()) {
            live.insert((record.source.partition.0, record.key.unwrap()), record.value);
        }
        live.retain(|_, value| value.is_some());
        let keys = (0..self.keys).filter(|key| key % 5 != 0).map(|key| Bytes::from(format!("key-{key}")));
        let wanted = keys.map(|key| ((partition_of(&key, NOW).0, key), Some(Bytes::from("new"))));
        assert_eq!(live, wanted.collect());
        let ids = copy(&*self.log, self.spec.seen_changelog.as_ref().unwrap());
        let ids = ids.into_iter().map(|record| (record.source.partition.0, record.value.unwrap()));
        let wanted = (0..NOW).map(|partition| (partition, Bytes::from(["even", "odd"][partition as usize % 2])));
        assert_eq!(ids.collect::<BTreeSet<_>>(), wanted.collect());
        assert_eq!(self.known.begun_move(&self.spec.component).unwrap(), None);
        assert_eq!(self.job().look().unwrap(), None);
    }
}

fn record(topic: &Topic, partition: i32, key: Bytes, value: Option<&'static str>) -> NewRecord {
    NewRecord {
        topic: topic.clone(),
        partition: Some(Partition(partition)),
        timestamp: Some(Timestamp(heddle::log::now().0)),
        key: Some(key),
        value: value.map(Bytes::from),
        headers: vec![],
    }
}

#[test]
fn an_interrupted_move_is_finished_by_the_next_one_wherever_it_was() {
    for steps in 0.. {
        let component = Component::of(&format!("interrupted-{steps}"));
        let plan = component.plan();
        let kinds = plan.topics.iter().map(|topic| topic.kind).collect::<Vec<_>>();
        assert_eq!((kinds, plan.left, plan.resumed), (vec![Kind::Store, Kind::Ids], 0, false));
        let mut left = steps;
        let mut stop = |_| {
            left -= 1;
            if left < 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match component.job().carry_out(&plan, &mut stop) {
            Ok(()) => {
                component.is_moved();
                assert!(steps > 4, "it was never interrupted in the middle: {steps}");
                return;
            }
            Err(RepartitionError::Interrupted) => {}
            Err(other) => panic!("{other}"),
        }
        assert!(component.known.begun_move(&component.spec.component).unwrap().is_some(), "hosts would run it");
        let plan = component.plan();
        assert!(plan.resumed);
        component.job().carry_out(&plan, &mut |_| ControlFlow::Continue(())).unwrap();
        component.is_moved();
    }
}

/// Of two commands the older one is fenced, wherever it is, and the younger one does all of the work.
#[test]
fn two_moves_at_once_do_the_work_once() {
    let component = Component::of("twice-at-once");
    let plan = component.plan();
    let mut calls = 0;
    let first = component.job().carry_out(&plan, &mut |_| {
        calls += 1;
        if calls == 3 {
            let other = component.plan();
            assert!(other.resumed);
            component.job().carry_out(&other, &mut |_| ControlFlow::Continue(())).unwrap();
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(first, Err(RepartitionError::Log(LogError::Fenced(_)))), "{first:?}");
    component.is_moved();
    // It was planned before the move, and would bring old values back.
    let refused = component.job().carry_out(&plan, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(RepartitionError::Refused(_))), "{refused:?}");
    component.is_moved();
}

#[test]
fn members_of_the_group_are_named() {
    let component = Component::of("with-members");
    let options = MemberOptions {
        group: component.group.clone(),
        instance_id: Some("with-members.patient-host-7-0".to_owned()),
        ..member_options("with-members", &component.inputs[0])
    };
    let mut member = component.log.join(&options).unwrap();
    assigned(&mut *member);
    let why = component.refused();
    assert!(why.contains("its group has the members `with-members.patient-host-7-0`"), "{why}");
    let positions = [(TopicPartition::new(component.inputs[0].clone(), 0), Offset(0))];
    let why = component.log.set_committed(&component.group, &positions).unwrap_err().to_string();
    assert!(why.contains("is active: its members are `with-members.patient-host-7-0`"), "{why}");
}

/// The command as a process, killed while it copies, stopped by SIGTERM while it deletes, and run once more.
#[test]
fn a_killed_command_is_finished_by_the_next_one() {
    const APP: &str = "killed-moves";
    let component = Component::with_keys(APP, 20_000);
    let app = tempfile::tempdir().unwrap();
    let source = app.path().join("components/patient");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("component.toml"), manifest(APP)).unwrap();
    let bootstrap = shared().bootstrap();
    let settings = format!("[app]\nname = \"{APP}\"\n[log]\nbootstrap = \"{bootstrap}\"\n");
    std::fs::write(app.path().join("heddle.toml"), settings).unwrap();
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
        command.args(["topics", "repartition", "patient", "--by-store-key", "--app"]).arg(app.path());
        Ended(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    };
    // Where a partition of the changelog ends, also of transactions that are open.
    let end = |partition: usize| {
        let bounds = component.log.watermarks(component.changelog()).unwrap();
        bounds.get(partition).map_or(0, |bounds| bounds.end.0)
    };
    let until = |what: &str, command: &mut Child, is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !is_so() {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            assert_eq!(command.try_wait().unwrap(), None, "it was not interrupted before {what}");
        }
    };
    let mut killed = start();
    until("it copies", &mut killed.0, &|| end(3) > 0);
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    assert!(component.plan().resumed);
    let before = end(0);
    let mut stopped = start();
    until("it deletes", &mut stopped.0, &|| end(0) > before);
    let status = terminate(&mut stopped.0);
    let mut told = String::new();
    stopped.0.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("error: moving the state was interrupted\n  hint: run the command again"), "{told}");
    assert!(component.plan().resumed);
    let mut last = start();
    assert!(last.0.wait().unwrap().success());
    component.is_moved();
}

#[test]
fn state_is_not_moved_if_its_partition_is_unknown() {
    let mut component = Component::of("placeless");
    component.by_store_key = false;
    assert!(component.refused().contains("give --by-store-key"));
    component.by_store_key = true;
    let key = Bytes::from("key-1");
    let wrong = 1 - partition_of(&key, BEFORE).0;
    component.log.append(&[record(component.changelog(), wrong, key, Some("misplaced"))]).unwrap();
    let why = component.refused();
    assert!(why.contains("not those of the input: the key `key-1`") && why.contains("accept patient"), "{why}");
    assert_eq!(component.log.watermarks(component.changelog()).unwrap().len(), BEFORE as usize, "nothing has changed");
}

#[test]
fn parked_records_keep_their_state_unless_its_loss_is_accepted() {
    let mut component = Component::of("waiting");
    let input = component.inputs[0].clone();
    let moves = (0..).map(|n| Bytes::from(format!("key-{n}")));
    let key = { moves }.find(|key| partition_of(key, NOW).0 >= BEFORE).unwrap();
    let before = partition_of(&key, BEFORE).0;
    component.log.append(&[record(&input, before, key.clone(), Some("waits"))]).unwrap();
    let why = component.refused();
    assert!(why.contains("would leave: 1\n") && why.contains(&format!("{input}/{before}@0")), "{why}");
    component.leave_waiting = true;
    assert_eq!(component.plan().left, 1);
    // Nobody who places keys like Java would have put it there.
    component.log.append(&[record(&input, 1 - before, key, Some("strange"))]).unwrap();
    assert!(component.refused().contains("murmur2_random"));
}
