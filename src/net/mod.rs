//! Addresses, netmasks and the cryptography of the network: values, no sockets.

pub mod addr;
pub mod crypto;
mod expiry;
pub mod netmask;
pub mod pem;
pub mod tls;
