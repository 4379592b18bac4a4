//! Ends Lua code that runs too long. The thread that runs it says until when; any other thread may
//! send it `unix::INTERRUPT`, and the handler sets a hook in which the code fails. Machine code that
//! LuaJIT has made of a loop does not look at hooks: that only the worker pool can get around.

#![allow(unsafe_code)] // A hook can only be set from a signal handler through Lua's C functions.

use std::cell::Cell;
use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rlua::ffi;
use rlua::{LightUserData, Lua, lua_State};

use crate::error::Result;
use crate::unix;

thread_local! {
    /// What runs in this thread, for the signal handler. Needs neither construction nor a destructor.
    static RUNNING: Cell<Option<(*mut lua_State, Instant)>> = const { Cell::new(None) };
    /// Whether the hook is set. To set or reset it makes LuaJIT forget what it is about to compile.
    static IS_HOOKED: Cell<bool> = const { Cell::new(false) };
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
        // SAFETY: `this_state` keeps to Lua's rules for a C function: it pushes one value.
        let this_state = unsafe { lua.create_c_function(this_state)? };
        let LightUserData(state) = this_state.call(())?;
        Ok(Interruptible { state: state.cast() })
    }

    /// From now on, an interruption after `deadline` makes the code of `lua` fail. `lua` must be
    /// the state that this was made with.
    pub fn run<'a>(&self, _lua: &'a Lua, deadline: Instant) -> Running<'a> {
        RUNNING.set(Some((self.state, deadline)));
        Running { state: self.state, lives: PhantomData }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        RUNNING.set(None);
        if IS_HOOKED.take() {
            // SAFETY: the state outlives this guard, and this is the thread that uses it.
            unsafe { ffi::lua_sethook(self.state, None, 0, 0) };
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
        IS_HOOKED.set(true);
        // SAFETY: the state belongs to this very thread, and the manual of Lua 5.1 has lua_sethook
        // as the one function that may be called while the state runs, as lua.c does from a signal.
        unsafe { ffi::lua_sethook(state, Some(fail), ffi::LUA_MASKCOUNT, EVERY) };
    }
}

/// The hook: stays set until the call ends, so that `pcall` in a loop is no way out.
unsafe extern "C-unwind" fn fail(state: *mut lua_State, _: *mut ffi::lua_Debug) {
    let why = if STOPS.load(Ordering::Relaxed) { c"interrupted: the daemon stops" } else { c"ran too long" };
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

unsafe extern "C-unwind" fn this_state(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with room for a result on its stack.
    unsafe { ffi::lua_pushlightuserdata(state, ptr::from_mut(&mut *state).cast()) };
    1
}
