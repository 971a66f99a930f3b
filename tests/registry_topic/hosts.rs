//! Several hosts with one registry, and killed hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use heddle::registry::{Client, ClientOptions, Registry, SchemaId};
use heddle_fixtures::kafka;

use super::{in_topic, kafka_log, schema};

/// The number of schemas that each host registers alone. It registers as many that others register, too.
const SCHEMAS: usize = 8;

#[test]
fn hosts_that_register_at_once_agree_on_every_id() {
    let topic = "together.registry";
    let found = Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for host in 0..3 {
            let found = &found;
            scope.spawn(move || {
                let registry = in_topic(kafka_log(), topic).unwrap();
                let mut own = BTreeMap::new();
                for number in 0..SCHEMAS {
                    for name in [format!("Shared{number}"), format!("Own{host}x{number}")] {
                        let id = registry.register(&format!("{name}-value"), &schema(&name)).unwrap();
                        assert_eq!(registry.by_id(id).unwrap().map(|found| found.text), Some(schema(&name)));
                        own.insert(name, id);
                    }
                }
                found.lock().unwrap().push((registry, own));
            });
        }
    });
    let found = found.into_inner().unwrap();
    let mut ids = BTreeMap::new();
    for (_, own) in &found {
        for (name, id) in own {
            assert_eq!(ids.insert(name.clone(), *id).unwrap_or(*id), *id, "{name}");
        }
    }
    let names = SCHEMAS * 4;
    assert_eq!((ids.len(), ids.values().collect::<BTreeSet<_>>().len()), (names, names));
    for (registry, _) in &found {
        for (name, id) in &ids {
            assert_eq!(registry.by_id(*id).unwrap().map(|found| found.text), Some(schema(name)));
            assert_eq!(registry.latest(&format!("{name}-value")).unwrap().unwrap().id, *id);
        }
    }
}

/// `heddle registry` on Kafka, in a separate process. Killed when dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(app: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
        command.args(["registry", "--listen", "127.0.0.1:0", "--app"]).arg(app);
        command.env("HEDDLE_LOG_BOOTSTRAP", kafka::shared().bootstrap());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let url = first.rsplit(' ').next().unwrap().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{first}");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }

    fn client(&self) -> Client {
        let timeout = Duration::from_secs(60);
        Client::new(ClientOptions { url: self.url.clone(), retries_max: 0, timeout, ..ClientOptions::default() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn answered_ids_survive_kill_9_of_any_host() {
    let app = tempfile::tempdir().unwrap();
    std::fs::write(
        app.path().join("heddle.toml"),
        "[app]\nname = \"killed\"\n[registry]\ntopic = \"killed.registry\"\n",
    )
    .unwrap();
    let answered = Mutex::new(BTreeMap::<String, SchemaId>::new());
    let numbers = AtomicUsize::new(0);
    let survivor = Server::start(app.path());
    for kill_after in [1, 5, 9] {
        let mut server = Server::start(app.path());
        let before = answered.lock().unwrap().len();
        std::thread::scope(|scope| {
            for client in [server.client(), survivor.client()] {
                let (answered, numbers) = (&answered, &numbers);
                scope.spawn(move || {
                    while answered.lock().unwrap().len() < before + kill_after + 4 {
                        let name = format!("S{}", numbers.fetch_add(1, Ordering::SeqCst));
                        // The server is gone.
                        let Ok(id) = client.register(&format!("{name}-value"), &schema(&name)) else { return };
                        answered.lock().unwrap().insert(name, id);
                    }
                });
            }
            let deadline = Instant::now() + Duration::from_secs(120);
            while answered.lock().unwrap().len() < before + kill_after {
                assert!(Instant::now() < deadline, "no schema is registered any more");
                std::thread::sleep(Duration::from_millis(1));
            }
            server.child.kill().unwrap();
        });
    }
    let answered = answered.into_inner().unwrap();
    assert_eq!(answered.len(), answered.values().collect::<BTreeSet<_>>().len(), "an id stands for two schemas");
    let fresh = in_topic(kafka_log(), "killed.registry").unwrap();
    for (name, id) in &answered {
        assert_eq!(fresh.by_id(*id).unwrap().map(|found| found.text), Some(schema(name)));
        assert_eq!(survivor.client().by_id(*id).unwrap().map(|found| found.text), Some(schema(name)));
    }
}
