//! Lets C modules of Lua, such as Debian's lua-cjson, find Lua's functions in the program itself:
//! the linker keeps all of them and makes them visible.

use std::env;

/// Every function that the library exports, as `nm -g libluajit-5.1.a` lists them.
const FUNCTIONS: &str = include_str!("src/lua/exports.txt");

fn main() {
    println!("cargo:rerun-if-changed=src/lua/exports.txt");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "macos") {
        return;
    }
    println!("cargo:rustc-link-arg-bins=-rdynamic");
    for function in FUNCTIONS.lines() {
        println!("cargo:rustc-link-arg-bins=-Wl,--undefined={function}");
    }
}
