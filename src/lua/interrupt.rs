//! Ends Lua code that runs too long or uses too much memory. The thread that runs it says until when;
//! any other thread may send it `unix::INTERRUPT`, and the handler sets a hook in which the code fails.
//! Machine code that LuaJIT has made of a loop does not look at hooks: that only the worker pool can
//! get around. Memory is looked at by the garbage collector, which machine code makes way for.

#![allow(unsafe_code)] // A hook can only be set from a signal handler through Lua's C functions.

use std::cell::Cell;
use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rlua::ffi;
use rlua::{Function, LightUserData, Lua, lua_State};

use crate::error::Result;
use crate::unix;

thread_local! {
    /// What runs in this thread, for the signal handler. Needs neither construction nor a destructor.
    static RUNNING: Cell<Option<(*mut lua_State, Instant)>> = const { Cell::new(None) };
    /// Whether the memory of the state that runs in this thread is used up.
    static EXHAUSTED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the daemon stops, so that nothing has time.
static STOPS: AtomicBool = AtomicBool::new(false);

/// How many instructions of Lua pass between two looks of the hook, once it is set.
const EVERY: c_int = 1000;

/// Where a state is, for [`Interruptible::run`].
pub struct Interruptible {
    state: *mut lua_State,
}

/// While it lives, the code that this thread runs fails after the time that it was made with.
pub struct Running<'a> {
    state: *mut lua_State,
    lives: PhantomData<&'a Lua>,
}

impl Interruptible {
    pub fn new(lua: &Lua) -> Result<Interruptible> {
        // The finalizers of the state before, made for want of memory as well, may have said so again.
        EXHAUSTED.set(false);
        // SAFETY: `this_state` keeps to Lua's rules for a C function: it pushes one value.
        let this_state = unsafe { lua.create_c_function(this_state)? };
        let LightUserData(state) = this_state.call(())?;
        Ok(Interruptible { state: state.cast() })
    }

    /// From now on, an interruption after `deadline` makes the code of `lua` fail. `lua` must be
    /// the state that this was made with.
    pub fn run<'a>(&self, _lua: &'a Lua, deadline: Instant) -> Running<'a> {
        EXHAUSTED.set(false);
        RUNNING.set(Some((self.state, deadline)));
        Running { state: self.state, lives: PhantomData }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        RUNNING.set(None);
        // SAFETY: the state outlives this guard, and this is the thread that uses it.
        unsafe {
            // To reset what is not set would make LuaJIT forget what it is about to compile.
            if ffi::lua_gethook(self.state).is_some() {
                ffi::lua_sethook(self.state, None, 0, 0);
            }
        }
    }
}

/// Makes `unix::INTERRUPT` interrupt the thread that it is sent to.
pub fn install() -> Result<()> {
    unix::on_signal(unix::INTERRUPT, interrupt)
}

/// From now on an interruption ends whatever the thread runs, because the daemon stops.
pub fn hurry() {
    STOPS.store(true, Ordering::Relaxed);
}

/// The signal handler: sets the hook if time is up, and nothing else.
fn interrupt() {
    if let Some((state, deadline)) = RUNNING.get()
        && (Instant::now() >= deadline || STOPS.load(Ordering::Relaxed))
    {
        // SAFETY: the state belongs to this very thread, and the manual of Lua 5.1 has lua_sethook
        // as the one function that may be called while the state runs, as lua.c does from a signal.
        unsafe { ffi::lua_sethook(state, Some(fail), ffi::LUA_MASKCOUNT, EVERY) };
    }
}

/// The hook: stays set until the call ends, so that `pcall` in a loop is no way out.
unsafe extern "C-unwind" fn fail(state: *mut lua_State, _: *mut ffi::lua_Debug) {
    let why = match STOPS.load(Ordering::Relaxed) {
        _ if EXHAUSTED.get() => c"not enough memory, see setLuaMemoryLimit",
        true => c"interrupted: the daemon stops",
        false => c"ran too long",
    };
    // SAFETY: called by Lua, which catches the error that this raises; there is room for two values on
    // the stack of a hook. Level 0 is the function that was running. From now on each instruction
    // fails, so that code that has caught the error gets no further.
    unsafe {
        ffi::lua_sethook(state, Some(fail), ffi::LUA_MASKCOUNT, 1);
        ffi::luaL_where(state, 0);
        ffi::lua_pushstring(state, why.as_ptr());
        ffi::lua_concat(state, 2);
        ffi::lua_error(state);
    }
}

/// For Lua: has what runs in `lua` fail at its next instruction, because its memory is used up.
pub fn exhaustion(lua: &Lua) -> Result<Function<'_>> {
    // SAFETY: `exhaust` keeps to Lua's rules for a C function: it pushes nothing.
    Ok(unsafe { lua.create_c_function(exhaust)? })
}

/// Called by a finalizer of the garbage collector, whose own errors are lost: the hook outlasts it.
unsafe extern "C-unwind" fn exhaust(state: *mut lua_State) -> c_int {
    EXHAUSTED.set(true);
    if RUNNING.get().is_some() {
        // SAFETY: called by Lua, in the thread that runs the state.
        unsafe { ffi::lua_sethook(state, Some(fail), ffi::LUA_MASKCOUNT, 1) };
    }
    0
}

/// Whether a call of this thread used up its memory since this was asked last.
pub fn was_exhausted() -> bool {
    EXHAUSTED.replace(false)
}

unsafe extern "C-unwind" fn this_state(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with room for a result on its stack.
    unsafe { ffi::lua_pushlightuserdata(state, ptr::from_mut(&mut *state).cast()) };
    1
}
