//! Servers of the tests' own, on loopback.

use crate::{Running, eventually};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use vdsokit_test_support::installed;

/// Ports that were free a moment ago.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let ports = listeners.iter().map(|one| one.local_addr().unwrap().port());
    ports.collect()
}

/// A server with its data, which can be killed and started again.
pub(crate) struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    pub(crate) port: u16,
    log: PathBuf,
    /// The length of the log at the last start.
    said: usize,
    running: Option<Running>,
}

impl Server {
    fn new(program: PathBuf, arguments: Vec<String>, port: u16, log: PathBuf) -> Self {
        Self {
            program,
            arguments,
            port,
            log,
            said: 0,
            running: None,
        }
    }

    /// Starts it, without waiting for it.
    pub(crate) fn spawn(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log);
        let log = log.unwrap();
        self.said = log.metadata().unwrap().len() as usize;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.running = Some(Running(command.spawn().unwrap()));
    }

    /// Starts it, and waits until it serves clients.
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.wait();
    }

    /// Waits until it says that it serves clients: etcd does so when there is a leader.
    pub(crate) fn wait(&mut self) {
        let log = self.log.clone();
        let running = self.running.as_mut().unwrap();
        eventually(|| {
            let text = fs::read_to_string(&log).unwrap();
            let ended = running.0.try_wait().unwrap();
            assert!(ended.is_none(), "{text}");
            let is_ready = text[self.said..].contains("Server is ready")
                || text[self.said..].contains("ready to serve client requests")
                || text[self.said..].contains("serving client traffic");
            is_ready.then_some(()).ok_or("not ready")
        });
    }

    /// Ends it by SIGKILL.
    pub(crate) fn kill(&mut self) {
        drop(self.running.take());
    }

    pub(crate) fn signal(&self, name: &str) {
        self.running.as_ref().unwrap().signal(name);
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

/// One server or a cluster.
pub(crate) struct Store {
    pub(crate) servers: Vec<Server>,
    pub(crate) directory: TempDir,
    scheme: &'static str,
    part: &'static str,
}

impl Store {
    /// The address of all servers and the part of the store.
    pub(crate) fn url(&self) -> String {
        let servers: Vec<String> = self
            .servers
            .iter()
            .map(|server| format!("localhost:{}", server.port))
            .collect();
        format!("{}://{}/{}", self.scheme, servers.join(","), self.part)
    }

    pub(crate) fn server(&mut self) -> &mut Server {
        &mut self.servers[0]
    }

    pub(crate) fn with_tls(mut self) -> Self {
        self.scheme = match self.scheme {
            "nats" => "tls",
            _ => "etcds",
        };
        self
    }

    /// The directory of the first server's data.
    pub(crate) fn data(&self) -> PathBuf {
        let data = data(self.directory.path(), self.servers[0].port);
        fs::create_dir_all(&data).unwrap();
        data.into()
    }

    /// Has the servers run in the mount namespace of a process.
    pub(crate) fn enter(&mut self, process: &Running) {
        let pid = process.0.id().to_string();
        for server in &mut self.servers {
            let program = std::mem::replace(&mut server.program, "nsenter".into());
            let program = program.to_str().unwrap().to_owned();
            let before = ["--mount", "--target", &pid, "--", &program].map(str::to_owned);
            server.arguments.splice(..0, before);
        }
    }

    /// Has the servers listen on all interfaces.
    pub(crate) fn listen_everywhere(&mut self) {
        for server in &mut self.servers {
            let config = self.directory.path().join(format!("{}.conf", server.port));
            if let Ok(text) = fs::read_to_string(&config) {
                let text = text.replace("listen: \"127.0.0.1", "listen: \"0.0.0.0");
                fs::write(&config, text).unwrap();
            }
            let mut is_address = false;
            for argument in &mut server.arguments {
                if is_address {
                    *argument = argument.replace("127.0.0.1", "0.0.0.0");
                }
                is_address = argument == "--listen-client-urls";
            }
        }
    }

    /// The address of the first server at another host.
    pub(crate) fn url_at(&self, host: &str) -> String {
        let port = self.servers[0].port;
        format!("{}://{host}:{port}/{}", self.scheme, self.part)
    }

    /// Deletes all data of the servers, which are not running.
    pub(crate) fn wipe(&self) {
        for server in &self.servers {
            let data = self.directory.path().join(format!("data{}", server.port));
            fs::remove_dir_all(data).unwrap();
        }
    }
}

fn data(directory: &Path, port: u16) -> String {
    let path = directory.join(format!("data{port}"));
    path.to_str().unwrap().to_owned()
}

/// nats-server with JetStream, with these lines in its configuration. Not started.
pub(crate) fn nats(count: usize, lines: &str) -> Option<Store> {
    let program = ["/usr/sbin/nats-server", "/usr/local/bin/nats-server"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
        .or_else(|| installed("nats-server"))?;
    let directory = tempfile::tempdir().unwrap();
    let ports = free_ports(count * 2);
    let (clients, routes) = ports.split_at(count);
    let urls: Vec<String> = routes
        .iter()
        .map(|port| format!("\"nats://127.0.0.1:{port}\""))
        .collect();
    let servers = clients.iter().zip(routes).map(|(&port, route)| {
        let cluster = match count {
            1 => String::new(),
            _ => format!(
                "cluster {{ name: c, listen: \"127.0.0.1:{route}\", routes: [{}] }}\n",
                urls.join(", ")
            ),
        };
        let data = data(directory.path(), port);
        let text = format!(
            "server_name: n{port}\nlisten: \"127.0.0.1:{port}\"\n\
             jetstream {{ store_dir: \"{data}\" }}\n{cluster}{lines}\n"
        );
        let file = directory.path().join(format!("{port}.conf"));
        fs::write(&file, text).unwrap();
        let arguments = vec!["--config".into(), file.to_str().unwrap().to_owned()];
        let log = directory.path().join(format!("{port}.log"));
        Server::new(program.clone(), arguments, port, log)
    });
    Some(Store {
        servers: servers.collect(),
        directory,
        scheme: "nats",
        part: "flags",
    })
}

/// etcd, with these options besides. Not started.
pub(crate) fn etcd(count: usize, scheme: &str, options: &[&str]) -> Option<Store> {
    let program = installed("etcd")?;
    let directory = tempfile::tempdir().unwrap();
    let ports = free_ports(count * 2);
    let (clients, peers) = ports.split_at(count);
    let cluster: Vec<String> = clients
        .iter()
        .zip(peers)
        .map(|(port, peer)| format!("e{port}=http://127.0.0.1:{peer}"))
        .collect();
    let servers = clients.iter().zip(peers).map(|(&port, peer)| {
        let client = format!("{scheme}://127.0.0.1:{port}");
        let peer = format!("http://127.0.0.1:{peer}");
        let mut arguments: Vec<String> = [
            ("--name", format!("e{port}")),
            ("--data-dir", data(directory.path(), port)),
            ("--listen-client-urls", client.clone()),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer),
            ("--initial-cluster", cluster.join(",")),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        arguments.extend(options.iter().map(|one| (*one).to_owned()));
        let log = directory.path().join(format!("{port}.log"));
        Server::new(program.clone(), arguments, port, log)
    });
    Some(Store {
        servers: servers.collect(),
        directory,
        scheme: "etcd",
        part: "flags/",
    })
}

/// Runs etcdctl, which has to succeed. Returns what it prints.
#[track_caller]
pub(crate) fn etcdctl(port: u16, arguments: &[&str]) -> String {
    let mut command = Command::new("etcdctl");
    command
        .env("ETCDCTL_API", "3")
        .arg(format!("--endpoints=127.0.0.1:{port}"))
        .args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
