//! Who may: access lists for this user alone, and the check that a folder has such a one.

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::{LocalFree, NO_ERROR};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetNamedSecurityInfoW,
    SDDL_REVISION_1, SE_FILE_OBJECT,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, GetAce, GetTokenInformation, IsWellKnownSid,
    OWNER_SECURITY_INFORMATION, PSID, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser, WinAnonymousSid,
    WinAuthenticatedUserSid, WinBuiltinAdministratorsSid, WinBuiltinGuestsSid, WinBuiltinUsersSid, WinInteractiveSid,
    WinNetworkSid, WinWorldSid,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::kernel::{succeeded, take, wide};

/// Who may use what is made with it; in force from the moment it is made.
#[derive(Debug)]
pub(super) struct Access {
    descriptor: Local,
}

impl Access {
    /// A file or folder of this user's, which the system and its administrators may use too: what mode 0700 is.
    pub(super) fn private() -> io::Result<Self> {
        let me = own_sid()?;
        Self::parse(&format!("O:{me}D:P(A;OICI;FA;;;{me})(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"))
    }

    /// A pipe that this user alone may open.
    #[cfg(feature = "cli")]
    pub(super) fn private_pipe() -> io::Result<Self> {
        let me = own_sid()?;
        Self::parse(&format!("O:{me}D:P(A;;GA;;;{me})"))
    }

    /// What a call that makes something takes. Valid as long as `self`.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        let size = u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0);
        SECURITY_ATTRIBUTES { nLength: size, lpSecurityDescriptor: self.descriptor.0, bInheritHandle: 0 }
    }

    fn parse(text: &str) -> io::Result<Self> {
        let text = wide(text);
        let mut descriptor = Local(ptr::null_mut());
        let place = &raw mut descriptor.0;
        // SAFETY: the text ends with a NUL; what is given is freed by `Local`.
        succeeded(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(text.as_ptr(), SDDL_REVISION_1, place, ptr::null_mut())
        })?;
        Ok(Self { descriptor })
    }
}

/// True when this user made the pipe (or other object of the kernel) that `handle` is open on.
#[cfg(feature = "cli")]
pub(super) fn is_own(handle: std::os::windows::io::BorrowedHandle<'_>) -> bool {
    use windows_sys::Win32::Security::Authorization::{GetSecurityInfo, SE_KERNEL_OBJECT};
    let mut owner = ptr::null_mut();
    let mut descriptor = Local(ptr::null_mut());
    // SAFETY: the handle is open, the places are ours, and what is given is freed by `Local`.
    let answer = unsafe {
        GetSecurityInfo(
            handle.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor.0,
        )
    };
    answer == NO_ERROR && is_own_sid(owner)
}

/// True when the folder at `path` belongs to this user, or to the administrators as what they make does, and none of
/// the groups that everybody is in may use it. Groups that somebody has added on purpose are left to them.
pub(super) fn is_private(path: &Path) -> bool {
    let path = wide(path);
    let mut owner = ptr::null_mut();
    let mut list = ptr::null_mut();
    let mut descriptor = Local(ptr::null_mut());
    // SAFETY: the path ends with a NUL, the places are ours, and what is given is freed by `Local`.
    let answer = unsafe {
        GetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
            &raw mut owner,
            ptr::null_mut(),
            &raw mut list,
            ptr::null_mut(),
            &raw mut descriptor.0,
        )
    };
    let is_ours = || is_own_sid(owner) || is_one_of(owner, &[WinBuiltinAdministratorsSid]);
    answer == NO_ERROR && is_ours() && !admits_everybody(list)
}

/// The groups that a stranger on this machine is in.
const EVERYBODY: [i32; 7] = [
    WinWorldSid,
    WinAuthenticatedUserSid,
    WinBuiltinUsersSid,
    WinBuiltinGuestsSid,
    WinAnonymousSid,
    WinInteractiveSid,
    WinNetworkSid,
];

/// No list at all lets everybody in; an empty one nobody.
fn admits_everybody(list: *const ACL) -> bool {
    if list.is_null() {
        return true;
    }
    // SAFETY: a list that the system gave; its descriptor is kept by the caller.
    let count = u32::from(unsafe { (*list).AceCount });
    (0..count).any(|index| {
        let mut entry: *mut c_void = ptr::null_mut();
        // SAFETY: the list is valid, and the place is ours.
        if unsafe { GetAce(list, index, &raw mut entry) } == 0 {
            return true;
        }
        // SAFETY: every entry begins with a header.
        let kind = unsafe { (*entry.cast::<ACE_HEADER>()).AceType };
        // SAFETY: an entry of this kind has a SID where `SidStart` is.
        kind == ACCESS_ALLOWED
            && is_one_of(unsafe { &raw mut (*entry.cast::<ACCESS_ALLOWED_ACE>()).SidStart }.cast(), &EVERYBODY)
    })
}

/// `ACCESS_ALLOWED_ACE_TYPE`.
const ACCESS_ALLOWED: u8 = 0;

fn is_one_of(sid: PSID, known: &[i32]) -> bool {
    // SAFETY: a SID that the system gave.
    known.iter().any(|kind| unsafe { IsWellKnownSid(sid, *kind) } != 0)
}

fn is_own_sid(sid: PSID) -> bool {
    own_sid().is_ok_and(|own| text_of(sid).is_ok_and(|text| text == own))
}

/// This user as a text, `S-1-5-21-…`.
fn own_sid() -> io::Result<&'static str> {
    static OWN: OnceLock<String> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(own);
    }
    let own = read_own_sid()?;
    Ok(OWN.get_or_init(|| own))
}

fn read_own_sid() -> io::Result<String> {
    let mut raw = ptr::null_mut();
    // SAFETY: the handle of this process needs no closing, and the place is ours.
    succeeded(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut raw) })?;
    // SAFETY: just made, and ours.
    let token: OwnedHandle = unsafe { take(raw) }?;
    // A `TOKEN_USER` that points to the SID behind it; a SID has at most 68 bytes.
    let mut words = [0_u64; 32];
    let mut written = 0;
    let size = u32::try_from(size_of_val(&words)).unwrap_or(0);
    let buffer = words.as_mut_ptr().cast();
    // SAFETY: the token is open, and the buffer is `size` bytes long.
    succeeded(unsafe {
        GetTokenInformation(token.as_handle().as_raw_handle(), TokenUser, buffer, size, &raw mut written)
    })?;
    // SAFETY: filled by the call, and aligned for pointers.
    let sid = unsafe { (*words.as_ptr().cast::<TOKEN_USER>()).User.Sid };
    text_of(sid)
}

fn text_of(sid: PSID) -> io::Result<String> {
    let mut text = ptr::null_mut();
    // SAFETY: a SID that the system gave, and the place is ours.
    succeeded(unsafe { ConvertSidToStringSidW(sid, &raw mut text) })?;
    let text = Local(text.cast());
    let units: *const u16 = text.0.cast_const().cast();
    let mut length = 0;
    // SAFETY: a text that the call made, with a closing NUL, which ends the loop.
    while unsafe { *units.add(length) } != 0 {
        length += 1;
    }
    // SAFETY: this many units were just seen.
    Ok(String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(units, length) }))
}

/// Memory that the system made and that is given back on drop.
#[derive(Debug)]
struct Local(*mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: null, or made by the system for us to free.
        unsafe { LocalFree(self.0) };
    }
}
