//! Limits of the process, raised as far as it needs, and what it gives up: core dumps, new privileges,
//! and that others look into its memory.

use std::fs;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use crate::error::Result;
use crate::unix::system;

/// Raises the limit of open files as far as the system allows, and says how many there may be.
pub fn raise_file_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// Bytes of stack for a thread that runs Lua. What a function calls through C, at worst a
/// `string.gsub` whose function calls it again, takes 11 KiB there each time until LuaJIT's own stack
/// is full, and beyond the end the process ends. Untouched, it is only address space.
const LUA_STACK: u64 = 96 << 20;

/// The same where address space is limited (`ulimit -v`, softlimit of daemontools), or counts as memory.
const SMALL_LUA_STACK: u64 = 8 << 20;

/// How much stack a thread that runs Lua gets, in bytes.
pub fn lua_stack() -> usize {
    let space = getrlimit(Resource::RLIMIT_AS).map_or(RLIM_INFINITY, |(soft, _)| soft);
    let is_ample = space == RLIM_INFINITY && !is_address_space_memory();
    usize::try_from(if is_ample { LUA_STACK } else { SMALL_LUA_STACK }).unwrap_or(usize::MAX)
}

/// Whether the system grants no more address space than it has memory for: the mode 2 of
/// `vm.overcommit_memory`, proc_sys_vm(5).
fn is_address_space_memory() -> bool {
    fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim() == "2")
}

/// Lets the stack of the main thread, which runs Lua as well, grow as large.
pub fn raise_stack_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_STACK) else { return };
    let wanted = LUA_STACK.min(hard);
    if soft < wanted {
        // Most never need it.
        let _ = setrlimit(Resource::RLIMIT_STACK, wanted, hard);
    }
}

/// What every process of this program gives up at its beginning: core dumps, and privileges that
/// programs which it runs could bring. It must have one thread; those that it starts are no different.
pub fn give_up() -> Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_no_new_privs().map_err(system("no_new_privs"))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(system("core dumps"))?;
    protect_memory()
}

/// Keeps the secrets in memory from core dumps and from other processes, but root's. The limit does
/// not keep the system from piping a dump to a program: core(5).
pub fn protect_memory() -> Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false).map_err(system("dumpable"))?;
    Ok(())
}
