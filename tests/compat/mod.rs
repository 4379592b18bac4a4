//! What the original does too, with its faults put right.

/// Who may use the API.
mod auth;
/// The command line, its errors and exit statuses.
mod command_line;
/// The console over the network.
mod console;
/// Custom endpoints.
mod endpoint;
/// Recorded exchanges of the HTTP API.
mod golden_http;
/// Recorded results of Lua expressions.
mod golden_lua;
/// Log lines.
mod logging;
/// Reports, up to the policy.
mod report;
/// What RFC 9112 asks of a server, and what nobody may smuggle past a proxy.
mod rfc9112;
/// Background functions.
mod schedule;
/// Statistics and metrics.
mod stats;
/// Custom webhooks.
mod webhook;
/// Webhooks over HTTPS.
mod webhook_tls;
