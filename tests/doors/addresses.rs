//! Old addresses of hosts: a process that listens there never gets the token, whatever it answers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heddle::admin::Access;

use super::{WAIT, host};

const TOKEN: &str = "s3cret-of-the-app";

/// The behaviour of a thief at an old address.
#[derive(Clone, Copy)]
enum Thief {
    /// Answers every request with the same body.
    Says(&'static str),
    /// Relays requests to the host, and its answers back.
    Relays(SocketAddr),
}

/// Listens where a host did, and records everything that arrives.
fn steal(thief: Thief) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, loot) = (listener.local_addr().unwrap().to_string(), Arc::new(Mutex::new(vec![])));
    let taken = loot.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let mut request = vec![];
            let mut piece = [0; 4096];
            // A request ends with its head, or at a pause.
            while let Ok(read @ 1..) = stream.read(&mut piece) {
                request.extend_from_slice(&piece[..read]);
                if request.ends_with(b"\r\n\r\n") {
                    break;
                }
            }
            taken.lock().unwrap().extend_from_slice(&request);
            let answer = match thief {
                Thief::Says(body) => {
                    let length = body.len();
                    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
                }
                Thief::Relays(host) => {
                    let mut real = TcpStream::connect(host).unwrap();
                    real.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
                    real.write_all(&request).unwrap();
                    let mut answer = vec![];
                    let _ = real.read_to_end(&mut answer);
                    answer
                }
            };
            let _ = stream.write_all(&answer);
        }
    });
    (address, loot)
}

#[test]
fn a_process_at_an_old_address_gets_no_token() {
    let (real, _log, _folder) = host(Access::new(Some(TOKEN.to_owned())));
    let thieves = [
        Thief::Says(r#"{"Topics":[]}"#),
        Thief::Says(r#"{"app":"shop","host":"h","proof":"AAAA"}"#),
        Thief::Says("[]"),
        Thief::Relays(real),
    ];
    for thief in thieves {
        let app = tempfile::tempdir().unwrap();
        let (address, loot) = steal(thief);
        std::fs::write(app.path().join("heddle.toml"), "[app]\nname = \"shop\"\n").unwrap();
        std::fs::create_dir(app.path().join(".heddle")).unwrap();
        std::fs::write(app.path().join(".heddle/admin-address"), &address).unwrap();
        let commands: [&[&str]; 4] = [
            &["rollback", "greeter", "--to", "file"],
            &["status"],
            &["state", "get", "greeter", "s", "k"],
            &["deployments", "greeter"],
        ];
        for command in commands {
            let mut heddle = Command::new(env!("CARGO_BIN_EXE_heddle"));
            heddle.args(command).arg("--app").arg(app.path()).env("HEDDLE_ADMIN_TOKEN", TOKEN);
            let output = heddle.output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success(), "{command:?}: {told}");
        }
        let loot = String::from_utf8_lossy(&loot.lock().unwrap()).into_owned();
        assert!(loot.contains("GET /health/identity?nonce="), "{loot}");
        assert!(!loot.contains(TOKEN) && !loot.to_lowercase().contains("authorization"), "{loot}");
    }
    // The host itself receives the token.
    let client = heddle::cluster::HostClient::new(&real.to_string(), &heddle::cluster::Reach::default(), WAIT);
    assert_eq!(client.with_token(Some(TOKEN.to_owned())).get("/status").unwrap().status, 200);
}
