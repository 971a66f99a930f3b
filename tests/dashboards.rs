//! Boards and alert rules in docs/observability, with a real Prometheus: it scrapes a host, every query of every board
//! finds its series, and every rule fires for its fault and for no other.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heddle_fixtures::Ended;
use serde_json::Value;

use crate::failures::host::{Host, Scripts, ended, input, status, until};
use crate::failures::{NAME, clinic};
use crate::support::app::App;

/// Queries whose series exist only after a failure that this test does not cause.
const MAY_BE_EMPTY: &[&str] = &["heddle_registry_errors_total"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn folder() -> PathBuf {
    root().join("docs/observability")
}

/// A program of Prometheus: the one on the PATH, or the one from Debian.
fn program(name: &str) -> Command {
    if Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok() {
        return Command::new(name);
    }
    let script = root().join("scripts/fetch-prometheus");
    let output = Command::new("bash").arg(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "this test needs Prometheus, and scripts/fetch-prometheus failed (see above)");
    Command::new(Path::new(String::from_utf8(output.stdout).unwrap().trim()).join(name))
}

fn promtool(arguments: &[&str], input: &str) -> String {
    let mut promtool = program("promtool");
    promtool.args(arguments).current_dir(folder()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = promtool.wait_with_output().unwrap();
    let told = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(done.status.success(), "{arguments:?}: {told}");
    told
}

#[test]
fn every_rule_fires_for_its_fault_and_for_no_other() {
    promtool(&["check", "rules", "alerts.yml"], "");
    promtool(&["test", "rules", "alerts.test.yml"], "");
    let rules = fs::read_to_string(folder().join("alerts.yml")).unwrap();
    let tests = fs::read_to_string(folder().join("alerts.test.yml")).unwrap();
    let page = fs::read_to_string(root().join("docs/guide/observability.md")).unwrap();
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect::<Vec<_>>();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(tests.contains(&format!("  - name: {name}\n")), "{name} has no test");
        assert!(page.contains(&format!("\n### {name}\n")), "{name} has no runbook");
        let runbook = format!("docs/guide/observability.md#{}", name.to_lowercase());
        assert!(rules.contains(&runbook), "{runbook} is not in the rules");
    }
}

/// The title and the query of every target of a board.
fn queries(board: &Value) -> Vec<(String, String)> {
    let panels = board["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| {
        let title = panel["title"].as_str().unwrap();
        panel["targets"].as_array().unwrap().iter().map(move |target| (title.to_owned(), target))
    });
    targets.map(|(title, target)| (title, target["expr"].as_str().unwrap().to_owned())).collect()
}

fn boards() -> Vec<(String, Value)> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let boards = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path: PathBuf| {
        let board = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), board)
    };
    boards.map(read).collect()
}

/// A Prometheus that scrapes a host.
struct Prometheus {
    address: String,
    _process: Ended,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(host: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = data.path().join("prometheus.yml");
        let rules = folder().join("alerts.yml");
        let settings = format!(
            "global: {{ scrape_interval: 500ms, evaluation_interval: 1s }}\nrule_files: ['{}']\nscrape_configs:\n  - \
             job_name: heddle\n    static_configs: [{{ targets: ['{host}'] }}]\n",
            rules.display()
        );
        fs::write(&config, settings).unwrap();
        let mut prometheus = program("prometheus");
        prometheus.arg(format!("--config.file={}", config.display()));
        prometheus.arg(format!("--storage.tsdb.path={}", data.path().join("data").display()));
        prometheus.arg(format!("--web.listen-address={address}")).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Ended(prometheus.spawn().unwrap());
        let prometheus = Self { address, _process: process, _folder: data };
        until("Prometheus has scraped the host", || !prometheus.query("up{job=\"heddle\"} == 1").is_empty());
        prometheus
    }

    /// The series that a query finds.
    fn query(&self, query: &str) -> Vec<Value> {
        let request = ureq::get(format!("http://{}/api/v1/query", self.address)).query("query", query);
        let Ok(mut answer) = request.config().http_status_as_error(false).build().call() else { return vec![] };
        let text = answer.body_mut().read_to_string().unwrap();
        // It may be starting.
        let Ok(answer) = serde_json::from_str::<Value>(&text) else { return vec![] };
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }
}

/// OpenMetrics as the older text format, which promtool checks: there the type has the name of the samples.
fn plain(metrics: &str) -> String {
    let counters = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"));
    let counters = counters.collect::<BTreeSet<_>>();
    let plain = |line: &str| match line.split(' ').collect::<Vec<_>>().as_slice() {
        ["#", "EOF" | "UNIT", ..] => String::new(),
        ["#", what, name, rest @ ..] if counters.contains(name) => {
            format!("# {what} {name}_total {}\n", rest.join(" "))
        }
        _ => format!("{line}\n"),
    };
    metrics.lines().map(plain).collect()
}

#[test]
fn every_query_of_every_board_finds_its_series_on_a_real_host() {
    let app = clinic(App::embedded(), 1, "attempts = 1");
    let scripts = Scripts::of(&app);
    let bad = || input(0, "k", Some(vec![0, 0, 0, 0, 99, 1]));
    app.log().append(&[scripts.record(0, "k", "count", 0), scripts.record(0, "k", "rejected", 0), bad()]).unwrap();
    let host = Host::start(&app);
    until("all are handled", || ended(&status(&app, NAME)) == 3);
    let address = fs::read_to_string(app.data.path().join("admin-address")).unwrap();
    let metrics = ureq::get(format!("http://{address}/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    promtool(&["check", "metrics"], &plain(&metrics));
    let prometheus = Prometheus::start(&address);
    let twice = |name: &str| {
        let samples = prometheus.query(&format!("count_over_time({name}[1m])"));
        samples.iter().any(|series| series["value"][1].as_str().is_some_and(|count| count.parse::<u64>().unwrap() > 2))
    };
    until("there are rates", || twice("heddle_records_total"));
    let mut uids = BTreeSet::new();
    for (file, board) in boards() {
        assert!(uids.insert(board["uid"].as_str().unwrap().to_owned()), "{file}: its uid is not unique");
        for (title, query) in queries(&board) {
            let query = query.replace("$__rate_interval", "1m").replace("$component", ".*");
            let may_be_empty = MAY_BE_EMPTY.iter().any(|name| query.contains(name));
            let found = prometheus.query(&query);
            assert!(may_be_empty || !found.is_empty(), "{file}: {title} finds nothing: {query}");
        }
    }
    assert_eq!(uids.len(), 4);
    host.stop();
}
