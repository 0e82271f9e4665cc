//! The HTTP server: metrics, the page, and its events.

use super::snapshot::Exported;
use crate::commands::serve::notify::notify;
use crate::metrics::Format;
use crate::output;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Channel, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use miette::{IntoDiagnostic, Result, miette};
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

/// The page: one file without scripts or styles from elsewhere.
const PAGE: &str = include_str!("page.html");

/// Permits what the page has in itself, and its events.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                      connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The most connections that are served at a time, the pages' events included.
const MAX_CONNECTIONS: usize = 128;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

type Body = BoxBody<Bytes, Infallible>;

/// The state that all connections share. One thread serves them all.
struct Shared {
    exported: RefCell<Exported>,
    every: Duration,
    is_loopback: bool,
}

/// Serves until `stop` is readable.
pub(super) fn run(
    address: SocketAddr,
    exported: Exported,
    every: Duration,
    stop: UnixStream,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .into_diagnostic()?;
    let shared = Rc::new(Shared {
        exported: RefCell::new(exported),
        every,
        is_loopback: address.ip().is_loopback(),
    });
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| no_address(address, &error))?;
        let local = listener.local_addr().into_diagnostic()?;
        stop.set_nonblocking(true).into_diagnostic()?;
        let stop = tokio::net::UnixStream::from_std(stop).into_diagnostic()?;
        output::line(format_args!("listening: http://{local}/"))?;
        notify("READY=1");
        tokio::select! {
            () = accept(&listener, &shared) => {}
            _ = stop.readable() => {}
        }
        notify("STOPPING=1");
        Ok(())
    })
}

fn no_address(address: SocketAddr, error: &std::io::Error) -> miette::Report {
    let help = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "another program listens there: `ss -ltnp sport = :{}` names it; choose another port, or 0 \
             for one that is free",
            address.port()
        ),
        ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one".to_owned()
        }
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address: `ip address` lists them".to_owned()
        }
        _ => "choose another address with --listen".to_owned(),
    };
    miette!(help = help, "the server can't listen at {address}: {error}")
}

async fn accept(listener: &TcpListener, shared: &Rc<Shared>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // A semaphore that is never closed gives a permit.
        let Ok(permit) = connections.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::task::spawn_local(async move {
                    serve(stream, shared).await;
                    drop(permit);
                });
            }
            // The client has gone already, or there are no descriptors left for now.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(stream: TcpStream, shared: Rc<Shared>) {
    let service = service_fn(move |request| {
        let response = shared.respond(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // An error is the client's: it sent no HTTP, or has gone.
    let _ = connection.await;
}

impl Shared {
    fn respond(self: &Rc<Self>, request: &Request<Incoming>) -> Response<Body> {
        if self.is_loopback && !is_local(request.headers()) {
            return refuse(StatusCode::MISDIRECTED_REQUEST, "name the address itself");
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "values can only be read");
        }
        match request.uri().path() {
            "/" => {
                let mut response = text("text/html; charset=utf-8", PAGE);
                let policy = HeaderValue::from_static(POLICY);
                response
                    .headers_mut()
                    .insert(header::CONTENT_SECURITY_POLICY, policy);
                response
            }
            "/metrics" => {
                let format = accepted(request.headers());
                let metrics = self.exported.borrow_mut().metrics(format);
                text(format.content_type(), metrics)
            }
            "/events" => self.events(),
            _ => refuse(StatusCode::NOT_FOUND, "there are /, /metrics and /events"),
        }
    }

    /// Server-sent events (HTML, section 9.2): the values in each period, while the client reads.
    fn events(self: &Rc<Self>) -> Response<Body> {
        let (mut sender, body) = Channel::new(1);
        let shared = self.clone();
        tokio::task::spawn_local(async move {
            let mut ticks = tokio::time::interval(shared.every);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                let event = format!("data: {}\n\n", shared.exported.borrow_mut().page());
                if sender.send_data(Bytes::from(event)).await.is_err() {
                    return;
                }
            }
        });
        let mut response = Response::new(body.boxed());
        set_type(&mut response, "text/event-stream");
        response
    }
}

/// Whether the request names the server by a loopback address or `localhost`. A page of another
/// site that has its own name resolve to 127.0.0.1 (DNS rebinding) sends that name.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    let Some(authority) = host
        .to_str()
        .ok()
        .and_then(|host| host.parse::<hyper::http::uri::Authority>().ok())
    else {
        return false;
    };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<IpAddr>().is_ok()
}

/// OpenMetrics where the client names it, as Prometheus does.
fn accepted(headers: &HeaderMap) -> Format {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    match accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
        true => Format::OpenMetrics,
        false => Format::Prometheus,
    }
}

fn text(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed());
    set_type(&mut response, content_type);
    response
}

fn refuse(status: StatusCode, why: &'static str) -> Response<Body> {
    let mut response = text("text/plain; charset=utf-8", format!("{why}\n"));
    *response.status_mut() = status;
    response
}

fn set_type(response: &mut Response<Body>, content_type: &'static str) {
    let headers = response.headers_mut();
    let of = HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, of(content_type));
    headers.insert(header::CACHE_CONTROL, of("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, of("nosniff"));
}
