//! What only this program does.

/// Alerts, from a policy to those who hear of them.
mod alert;
/// Lua that fails, panics or never returns.
mod bad_lua;
/// Sources of alerts that a wforce is told to refuse.
mod blocklist;
/// Reports under reloads, signals and clients that break off.
mod chaos;
/// What clients say of themselves, parsed by protocol.
mod device;
/// Clients that mean no good, or do none.
mod hostile;
/// What is installed, and what an installation begins with.
mod install;
/// Many clients, many reports, and the end of both.
mod load;
/// A configuration that users have already.
mod migration;
/// What can be wrong in a configuration.
mod mistakes;
/// C modules and Lua modules beside the configuration.
mod modules;
/// What Prometheus and Grafana are given.
mod observe;
/// Root given up, and what every process gives up.
mod privileges;
/// The Lua prompt on a terminal.
mod prompt;
/// The configuration read again.
mod reload;
/// What the systemd unit takes away.
mod sandbox;
/// Passwords and keys, which nothing tells and nothing keeps.
mod secrets;
/// What is shipped beside the program.
mod shipped;
/// The report store, and what is left of it when the process ends.
mod store;
/// Listeners that speak TLS.
mod tls;
/// What clients do inside TLS, and instead of it.
mod tls_clients;
/// History into a store and out of it.
mod transfer;
/// Reports of the real wforce.
mod wforce;
