//! Requests to etcd's JSON gateway over HTTP/1.1.
//!
//! The gateway has the calls of etcd's gRPC interface as POST requests with JSON, in which bytes are
//! in base64 and 64-bit numbers are strings (etcd, "gRPC gateway"). It needs no compiler of protocol
//! buffers at the build, as a gRPC client would.

use crate::credentials::Credentials;
use crate::error::Error;
use crate::link::{ANSWER_TIMEOUT, lost};
use crate::location::Location;
use crate::tls;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// The largest answer that is read at once.
const MAX_ANSWER: usize = 256 << 20;

/// A member of the cluster, with what is needed to connect to it.
#[derive(Clone)]
pub(super) struct Member {
    location: Location,
    server: Authority,
    tls: Option<Arc<ClientConfig>>,
    token: Option<String>,
    /// How long a request, or the next part of its answer, may remain unanswered.
    patience: Duration,
}

impl Member {
    /// The first member, from a random one on, that answers; with a token where there is a user.
    pub(super) async fn find(
        location: &Location,
        credentials: &Credentials,
        patience: Duration,
    ) -> Result<(Self, Connection), Error> {
        let tls = match location.has_tls {
            true => Some(Arc::new(tls::config(credentials)?)),
            false => None,
        };
        let count = location.servers.len();
        let start = spread() % count;
        let mut failure = None;
        for at in 0..count {
            let mut member = Self {
                location: location.clone(),
                server: location.servers[(start + at) % count].clone(),
                tls: tls.clone(),
                token: None,
                patience,
            };
            match member.log_in(credentials).await {
                Ok(connection) => return Ok((member, connection)),
                Err(error @ (Error::Denied { .. } | Error::File { .. })) => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        // There is at least one server.
        Err(failure.unwrap_or_else(|| lost(location, "there is no server")))
    }

    async fn log_in(&mut self, credentials: &Credentials) -> Result<Connection, Error> {
        let mut connection = self.connect().await?;
        if let Some((user, password)) = credentials.password()? {
            let request = json!({"name": user, "password": password});
            let answer = connection.call("/v3/auth/authenticate", &request).await?;
            self.token = answer["token"].as_str().map(str::to_owned);
            connection.member.token.clone_from(&self.token);
        }
        // A member without a majority does not answer this; better to find out now.
        connection
            .call("/v3/maintenance/status", &json!({}))
            .await?;
        Ok(connection)
    }

    pub(super) async fn connect(&self) -> Result<Connection, Error> {
        let unreachable = |why: String| Error::Unreachable {
            location: self.location.to_string(),
            why: format!("{}: {why}", self.server),
        };
        let stream = timeout(ANSWER_TIMEOUT, TcpStream::connect(self.server.as_str()))
            .await
            .map_err(|_| unreachable("no answer".into()))?
            .map_err(|error| unreachable(error.to_string()))?;
        // A request is one write that waits for its answer.
        let _ = stream.set_nodelay(true);
        let handshake = async {
            let Some(config) = &self.tls else {
                return self.handshake(TokioIo::new(stream)).await;
            };
            let tls = |error: String| Error::Tls {
                location: self.location.to_string(),
                why: error,
            };
            let host = self.server.host().trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(host).map_err(|error| tls(error.to_string()))?;
            let connector = TlsConnector::from(config.clone());
            let stream = connector.connect(name, stream).await;
            let stream = stream.map_err(|error| tls(error.to_string()))?;
            self.handshake(TokioIo::new(stream)).await
        };
        let connected = timeout(ANSWER_TIMEOUT, handshake).await;
        connected.map_err(|_| unreachable("no answer".into()))?
    }

    async fn handshake<S>(&self, stream: S) -> Result<Connection, Error>
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (requests, connection) = http1::handshake(stream)
            .await
            .map_err(|error| lost(&self.location, error))?;
        let task = tokio::spawn(async move {
            // Its errors are those of the requests.
            let _ = connection.await;
        });
        Ok(Connection {
            member: self.clone(),
            requests,
            task,
        })
    }
}

/// A number that differs from process to process.
fn spread() -> usize {
    std::process::id() as usize
}

/// A connection, for one request at a time.
pub(super) struct Connection {
    member: Member,
    requests: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    pub(super) fn location(&self) -> &Location {
        &self.member.location
    }

    /// The answer to a call.
    pub(super) async fn call(&mut self, path: &str, request: &Value) -> Result<Value, Error> {
        let response = self.send(path, request).await?;
        self.read(response).await
    }

    /// The answers to a call, a line each, for as long as the member sends any.
    pub(super) async fn stream(mut self, path: &str, request: &Value) -> Result<Lines, Error> {
        let response = self.send(path, request).await?;
        if response.status() != StatusCode::OK {
            let refusal = self.read(response).await.err();
            return Err(refusal.unwrap_or_else(|| lost(self.location(), "the watch was refused")));
        }
        Ok(Lines {
            body: response.into_body(),
            buffer: BytesMut::new(),
            searched: 0,
            connection: self,
        })
    }

    async fn send(&mut self, path: &str, request: &Value) -> Result<Response<Incoming>, Error> {
        let member = &self.member;
        let lost = |error: String| lost(&member.location, error);
        let mut builder = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, member.server.as_str())
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &member.token {
            builder = builder.header(AUTHORIZATION, token);
        }
        let request = builder
            .body(Full::new(Bytes::from(request.to_string())))
            .map_err(|error| lost(error.to_string()))?;
        let response = async {
            self.requests.ready().await?;
            self.requests.send_request(request).await
        };
        let response = timeout(member.patience, response).await;
        let response = response.map_err(|_| lost("the member does not answer".to_owned()))?;
        response.map_err(|error| lost(error.to_string()))
    }

    /// Reads an answer to its end. The time-out is that of each part: a slow link carries a large answer
    /// for longer.
    async fn read(&self, response: Response<Incoming>) -> Result<Value, Error> {
        let lost = |error: &dyn ToString| lost(self.location(), error.to_string());
        let status = response.status();
        let mut incoming = response.into_body();
        let mut body = BytesMut::new();
        loop {
            let frame = timeout(self.member.patience, incoming.frame()).await;
            let frame = frame.map_err(|_| lost(&"the member stopped in an answer"))?;
            let Some(frame) = frame else { break };
            if let Ok(data) = frame.map_err(|error| lost(&error))?.into_data() {
                body.extend_from_slice(&data);
            }
            if body.len() > MAX_ANSWER {
                return Err(lost(&"an answer is too long"));
            }
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        match status {
            StatusCode::OK => Ok(answer),
            _ => Err(self.refusal(&answer, &format!("HTTP status {status}"))),
        }
    }

    /// The error that an answer is (`google.rpc.Status`).
    pub(super) fn refusal(&self, answer: &Value, otherwise: &str) -> Error {
        let message = ["message", "error"]
            .into_iter()
            .find_map(|key| answer[key].as_str());
        let why = message.unwrap_or(otherwise).to_owned();
        let location = self.location().to_string();
        // 3 invalid argument, 7 permission denied, 14 unavailable, 16 unauthenticated; etcd answers
        // a wrong password with 3 (etcd, `rpctypes`).
        match answer["code"].as_u64().or(answer["grpc_code"].as_u64()) {
            Some(7 | 16) => Error::Denied { location, why },
            Some(3) if why.contains("authentication") || why.contains("user name") => {
                Error::Denied { location, why }
            }
            Some(4 | 14) => Error::Lost { location, why },
            _ => Error::Refused { location, why },
        }
    }
}

/// The lines of an answer that goes on.
pub(super) struct Lines {
    connection: Connection,
    body: Incoming,
    buffer: BytesMut,
    /// Bytes of the buffer that have no line break.
    searched: usize,
}

impl Lines {
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The next line. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Value, Error> {
        loop {
            let end = self.buffer[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(length) = end {
                let line = self.buffer.split_to(self.searched + length);
                self.buffer.advance(1);
                self.searched = 0;
                return serde_json::from_slice(&line)
                    .map_err(|error| lost(self.connection.location(), error));
            }
            self.searched = self.buffer.len();
            let frame = self.body.frame().await;
            let location = self.connection.location();
            let frame = frame
                .ok_or_else(|| lost(location, "the member ended the watch"))?
                .map_err(|error| lost(location, error))?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
            if self.buffer.len() > MAX_ANSWER {
                return Err(lost(location, "an answer is too long"));
            }
        }
    }
}
