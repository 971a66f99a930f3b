//! The failures of a log, by remedy.

use std::fmt;

use heddle_core::event::Topic;
use heddle_core::explain::{Explain, Explained};
use thiserror::Error;

/// A failure of a log, named by remedy.
#[derive(Debug, Clone, Error)]
pub enum LogError {
    /// The transaction cannot be committed; abort it, rewind and do the work again.
    #[error("the transaction must be aborted: {0}")]
    Abort(String),
    /// Another member took over (same transactional id, or a newer generation): give everything up and join again.
    #[error("fenced by a newer member: {0}")]
    Fenced(String),
    /// The commit may or may not have taken effect. Join again, which fences the old transaction, and read the
    /// committed positions.
    #[error("the outcome of the commit is not known: {0}")]
    CommitUnknown(String),
    /// The log cannot continue in this process; stop the host.
    #[error("{0}")]
    Fatal(String),
    /// The log refuses until an operator grants, configures or repairs something: report it, and try again now and
    /// then.
    #[error("{0}")]
    Hindered(Explained),
    /// The log cannot be reached now.
    #[error("the log cannot be reached: {0}")]
    Unreachable(String),
    /// The topic does not exist.
    #[error("there is no topic `{0}`")]
    UnknownTopic(String),
    /// The topic exists already.
    #[error("topic `{0}` exists already")]
    TopicExists(String),
    /// This one record cannot be written, because it is too large or its partition does not exist. The event's failure
    /// policy decides.
    #[error("record refused: {0}")]
    RecordRefused(String),
    /// Records were sent and refused on arrival: the transaction must be aborted, as for [`Abort`](LogError::Abort).
    #[error("the transaction must be aborted: {0}")]
    Refused(OnArrival),
    /// The group has members, which own its positions.
    #[error("the group `{group}` is active: its members are {}", named(members))]
    GroupActive {
        /// The group.
        group: String,
        /// The names of its members.
        members: Vec<String>,
    },
    /// An option, name or number that is not valid for the log.
    #[error("{0}")]
    Invalid(String),
}

impl Explain for LogError {
    fn place(&self) -> Option<String> {
        match self {
            Self::Hindered(why) => why.place.clone(),
            Self::Unreachable(_) => Some("[log] in heddle.toml".to_owned()),
            _ => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        let reach = "start the broker, or correct bootstrap (HEDDLE_LOG_BOOTSTRAP) and the options of [log]";
        match self {
            Self::Hindered(why) => why.remedy.clone(),
            Self::Unreachable(_) => Some(reach.to_owned()),
            _ => None,
        }
    }
}

/// The most members that a message names.
const MEMBERS_SHOWN: usize = 4;

/// The names of a group's members for a message.
pub(crate) fn named(members: &[String]) -> String {
    let mut names = members.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let more = names.len().saturating_sub(MEMBERS_SHOWN);
    names.truncate(MEMBERS_SHOWN);
    match (names.is_empty(), more) {
        // They have left since.
        (true, _) => "not known".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

/// Records of a transaction that the log refused after they were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnArrival {
    /// The refused records, at least one.
    pub records: Vec<RefusedRecord>,
}

/// A record that the log refused on arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRecord {
    /// The number of the record among all that the member sent in this transaction, from 0. `None` if the log does not
    /// report it.
    pub number: Option<usize>,
    /// Its topic, if that is known.
    pub topic: Option<Topic>,
    /// The reason that the log reports.
    pub why: String,
    /// True if the log refuses only the timestamp.
    pub timestamp: bool,
}

impl fmt::Display for OnArrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.records.first() else { return f.write_str("records were refused on arrival") };
        f.write_str(&first.why)?;
        match self.records.len() - 1 {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}
