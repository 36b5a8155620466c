/** Tests that a shortage of memory is detected, whether V8, the kernel or a library ended the process. */
import { totalmem } from 'node:os'
import { expect, it } from 'vitest'
import { runChild } from '../../../activities/runtime/child-process.ts'
import {
  countKernelKills,
  detectOutOfMemory,
  memoryOfJobMb,
} from '../../../activities/runtime/memory-limit.ts'

it.each([
  ['V8', 'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory'],
  ['V8, of its own room', '# Fatal process out of memory: Zone'],
  ['what lies outside of its heap', 'RangeError: Array buffer allocation failed'],
  ['C++', "terminate called after throwing an instance of 'std::bad_alloc'"],
  ['TensorFlow', 'Error: OOM when allocating tensor with shape[1048576,1024] and type float'],
  [
    'Arrow',
    'pyarrow.lib.ArrowException: Unknown error: Failed to launch worker thread: Resource temporarily',
  ],
  ['the kernel', 'spawn ENOMEM: Cannot allocate memory'],
])('an out-of-memory failure is recognised in the output of %s', (_who, line) =>
  expect(detectOutOfMemory(['  1: 0xb78db3 [node]', line, ' 2: 0xee8300 [node]'])).toBe(line.trim()),
)

it('an error thrown by a model file is not an out-of-memory failure', () =>
  expect(detectOutOfMemory(['Error: no soil', 'RangeError: Invalid array length'])).toBeUndefined())

it('a child process beyond its memory limit ends, with the line that reports it', async () => {
  const child = runChild({
    file: 'test/support/training/hungry-child.ts',
    job: {},
    signal: new AbortController().signal,
    silentMs: 60_000,
    limitMb: 256,
  })
  await expect(child).rejects.toMatchObject({
    code: 'out_of_memory',
    message: expect.stringMatching(/ran out of memory \(\w+\): \S/) as unknown,
  })
})

it('out-of-memory kills are counted by the kernel, or not reported', async () =>
  expect([undefined, expect.any(Number)]).toContainEqual(await countKernelKills()))

it('a job without a limit of its own leaves a quarter of the machine', () => {
  expect(memoryOfJobMb()).toBeGreaterThan(0)
  expect(memoryOfJobMb() * 1_048_576).toBeLessThanOrEqual(totalmem() * 0.75)
})
