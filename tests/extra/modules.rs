//! What a policy can `require`.

use std::path::Path;
use std::process::Command;

use crate::support::{Folder, PROGRAM, SERVER, Trackalert, skipped};

#[test]
fn c_modules_of_lua_5_1_load() {
    let folders =
        ["/usr/lib/x86_64-linux-gnu/lua/5.1", "/usr/lib/aarch64-linux-gnu/lua/5.1", "/usr/lib/lua/5.1"];
    if !folders.iter().any(|folder| Path::new(folder).join("cjson.so").exists()) {
        return skipped("Debian's package lua-cjson is not installed");
    }
    let config = "local cjson = require 'cjson'\n\
                  setReport(function(lt) infoLog(cjson.encode({ login = lt.login }), {}) end)";
    let daemon = Trackalert::start(config);
    daemon.report(r#"{"login":"joe"}"#);
    daemon.wait_for_line(r#"{"login":"joe"}: "#);
}

#[test]
fn lua_modules_are_found_beside_the_configuration() {
    let folder = Folder::new();
    folder.write("plain.lua", "return { name = 'plain' }");
    std::fs::create_dir(folder.path("whole")).unwrap();
    folder.write("whole/init.lua", "return { name = 'whole' }");
    let config = "setReport(function() infoLog(require('plain').name .. require('whole').name, {}) end)";
    let daemon = Trackalert::start_with(folder, &format!("{SERVER}{config}"), Command::new(PROGRAM));
    daemon.report("{}");
    daemon.wait_for_line("plainwhole: ");
}

#[test]
fn the_libraries_of_luajit_are_there() {
    let daemon = Trackalert::start(
        "local ffi, bit = require 'ffi', require 'bit'\n\
         ffi.cdef 'int getpid(void);'\n\
         setReport(function() infoLog('pid', { pid = tonumber(ffi.C.getpid()), bits = bit.band(7, 2) }) end)",
    );
    daemon.report("{}");
    let line = daemon.wait_for_line("pid: ");
    assert_eq!(line, format!("pid: bits=\"2\" pid=\"{}\" ", daemon.pid()));
}
