//! As much of CUDA's driver API (cuda.h) as a loader needs.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;

use anyhow::{Context, Result, bail};
use libloading::Library;

/// `CUdeviceptr`.
type DevicePointer = u64;

/// The first GPU, its primary context current on this thread.
pub(crate) struct Gpu {
    library: Library,
    pub(crate) name: String,
}

/// Memory of the GPU.
pub(crate) struct DeviceBuffer<'g> {
    gpu: &'g Gpu,
    at: DevicePointer,
    len: usize,
}

/// Memory of the machine that the GPU reads by itself, and the queue of copies out of it.
pub(crate) struct Staging<'g> {
    gpu: &'g Gpu,
    at: *mut u8,
    len: usize,
    stream: *mut c_void,
}

macro_rules! call {
    ($gpu:expr, $name:literal, ($($kind:ty),*), $($argument:expr),*) => {{
        // SAFETY: the driver's function has this name and these parameters in cuda.h; whoever calls says why the
        // arguments are good.
        let status = unsafe {
            let function = $gpu.get::<unsafe extern "C" fn($($kind),*) -> c_int>($name)?;
            function($($argument),*)
        };
        match status {
            0 => Ok(()),
            code => Err(anyhow::anyhow!("{}: CUDA error {code}", String::from_utf8_lossy($name))),
        }
    }};
}

impl Gpu {
    /// `None` where there is no driver.
    pub(crate) fn open() -> Result<Option<Self>> {
        // SAFETY: the driver's library may be loaded into any process.
        let Ok(library) = (unsafe { Library::new("libcuda.so.1") }) else {
            return Ok(None);
        };
        call!(library, b"cuInit", (c_uint), 0)?;
        let mut device: c_int = 0;
        call!(library, b"cuDeviceGet", (*mut c_int, c_int), &mut device, 0)?;
        let mut name = [0_u8; 256];
        let name_len = name.len() as c_int;
        call!(
            library,
            b"cuDeviceGetName",
            (*mut c_char, c_int, c_int),
            name.as_mut_ptr().cast(),
            name_len,
            device
        )?;
        let mut context = null_mut();
        call!(
            library,
            b"cuDevicePrimaryCtxRetain",
            (*mut *mut c_void, c_int),
            &mut context,
            device
        )?;
        call!(library, b"cuCtxSetCurrent", (*mut c_void), context)?;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(0);
        let name = String::from_utf8_lossy(&name[..end]).into_owned();
        Ok(Some(Self { library, name }))
    }

    pub(crate) fn allocate(&self, len: usize) -> Result<DeviceBuffer<'_>> {
        let mut at = 0;
        call!(self.library, b"cuMemAlloc_v2", (*mut DevicePointer, usize), &mut at, len)
            .with_context(|| format!("{len} bytes of the GPU's memory"))?;
        Ok(DeviceBuffer { gpu: self, at, len })
    }

    pub(crate) fn staging(&self, len: usize) -> Result<Staging<'_>> {
        let (mut at, mut stream) = (null_mut(), null_mut());
        call!(
            self.library,
            b"cuMemHostAlloc",
            (*mut *mut c_void, usize, c_uint),
            &mut at,
            len,
            0
        )?;
        call!(
            self.library,
            b"cuStreamCreate",
            (*mut *mut c_void, c_uint),
            &mut stream,
            0
        )?;
        // What nobody has written yet would be no bytes.
        // SAFETY: the driver has just given `len` bytes.
        unsafe { at.cast::<u8>().write_bytes(0, len) };
        Ok(Staging {
            gpu: self,
            at: at.cast(),
            len,
            stream,
        })
    }
}

impl Staging<'_> {
    /// Its bytes, once all copies out of it are done.
    pub(crate) fn bytes(&mut self) -> Result<&mut [u8]> {
        let stream = self.stream;
        call!(self.gpu.library, b"cuStreamSynchronize", (*mut c_void), stream)?;
        // SAFETY: `len` bytes that are set, which live as long as `self` and which nobody else uses: the copies are
        // done.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.at, self.len) })
    }

    /// Queues a copy of the first `len` bytes to byte `offset` of `target`.
    pub(crate) fn send(&mut self, target: &DeviceBuffer<'_>, offset: usize, len: usize) -> Result<()> {
        if len > self.len || offset.checked_add(len).is_none_or(|end| end > target.len) {
            bail!("a copy of {len} bytes to byte {offset} of {}", target.len);
        }
        // Both ranges are inside; `bytes` waits until this has been read.
        call!(
            self.gpu.library,
            b"cuMemcpyHtoDAsync_v2",
            (DevicePointer, *const c_void, usize, *mut c_void),
            target.at + offset as u64,
            self.at.cast_const().cast(),
            len,
            self.stream
        )
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        let release = || -> Result<()> {
            call!(self.gpu.library, b"cuStreamSynchronize", (*mut c_void), self.stream)?;
            call!(self.gpu.library, b"cuStreamDestroy_v2", (*mut c_void), self.stream)?;
            call!(self.gpu.library, b"cuMemFreeHost", (*mut c_void), self.at.cast())
        };
        // The process ends soon.
        let _ = release();
    }
}

impl DeviceBuffer<'_> {
    /// What is in it.
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<()> {
        if offset.checked_add(bytes.len()).is_none_or(|end| end > self.len) {
            bail!("{} bytes from byte {offset} of {}", bytes.len(), self.len);
        }
        call!(
            self.gpu.library,
            b"cuMemcpyDtoH_v2",
            (*mut c_void, DevicePointer, usize),
            bytes.as_mut_ptr().cast(),
            self.at + offset as u64,
            bytes.len()
        )
    }

    /// Overwrites all of it with one byte's value.
    pub(crate) fn fill(&self, byte: u8) -> Result<()> {
        call!(
            self.gpu.library,
            b"cuMemsetD8_v2",
            (DevicePointer, u8, usize),
            self.at,
            byte,
            self.len
        )
    }
}

impl Drop for DeviceBuffer<'_> {
    fn drop(&mut self) {
        let release =
            || -> Result<()> { call!(self.gpu.library, b"cuMemFree_v2", (DevicePointer), self.at) };
        // The process ends soon.
        let _ = release();
    }
}
