//! The global table of a host, and what fills it: the product's own follower, one turn at a time.

use std::rc::Rc;
use std::sync::Arc;

use heddle::tables::{Follower, Table, TableEngine};
use heddle_contract::manifest::tables::Scope;
use heddle_core::tables::TableKeys;

use crate::gate::Caller;
use crate::host::{Host, REJOIN_WAIT};
use crate::life::Life;
use crate::log::SimLog;
use crate::{planted, time};

/// A global table, and what fills it.
pub(crate) struct Following {
    pub(crate) table: Arc<Table>,
    pub(crate) caller: Caller,
    /// Absent in the middle of a turn.
    pub(crate) follower: Option<Follower>,
}

impl Life {
    /// Returns the follower of a host's global table, in a life that has one.
    pub(crate) fn following(&self, host: &Host, caller: impl Fn(&str) -> Caller) -> Option<Following> {
        let reference = self.world.plan.reference.as_ref().filter(|reference| reference.scope == Scope::Global)?;
        let (caller, disk, planted) = (caller("table"), host.tables.clone(), self.options.planted);
        let table = Arc::new(Table::new(reference.topic.clone(), TableKeys::Plain));
        let user = caller.clone();
        let engine = TableEngine::new(move || Ok(planted::engine(planted, disk.engine(Some(user.clone())))));
        let follower = Follower::new(Arc::new(SimLog(caller.clone())), Arc::new(engine), table.clone());
        Some(Following { table, caller, follower: Some(follower) })
    }

    /// A host's follower takes a turn. Returns false if none has anything to do.
    pub(crate) fn follow(self: &Rc<Self>) -> bool {
        let found = {
            let mut hosts = self.hosts.borrow_mut();
            let moving = hosts.iter_mut().filter_map(|host| host.run.as_mut());
            let moving = moving.filter(|run| !run.process.stands_still());
            let due = moving.filter(|run| {
                run.following.as_ref().is_some_and(|f| f.follower.is_some() && f.caller.wakes_at() <= time::now())
            });
            let mut due = due.collect::<Vec<_>>();
            let index = self.schedule.borrow_mut().below(due.len() as u64);
            let run = usize::try_from(index).ok().and_then(|index| due.get_mut(index));
            run.and_then(|run| {
                let following = run.following.as_mut()?;
                Some((run.process.clone(), following.caller.clone(), following.follower.take()?))
            })
        };
        let Some((process, caller, mut follower)) = found else { return false };
        if follower.turn(time::timestamp()).is_err() {
            caller.sleep(REJOIN_WAIT);
        }
        let left = {
            let mut hosts = self.hosts.borrow_mut();
            let run = hosts.get_mut(process.host).and_then(|host| host.run.as_mut());
            let run = run.filter(|run| run.process.number == process.number);
            match run.and_then(|run| run.following.as_mut()) {
                Some(following) => {
                    following.follower = Some(follower);
                    None
                }
                None => Some(follower),
            }
        };
        // Dropped without the borrow: it may look at the hosts.
        drop(left);
        self.bury(&process);
        true
    }
}
