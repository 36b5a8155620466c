/** Tests whether a directory can be entered, on a machine without the program that checks it. */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { reachable } from '../../../cli/state-dir.ts'

vi.mock('node:child_process', async (original) => ({
  ...(await original<object>()),
  // As in a container image, which has no `/usr/bin/test`.
  spawnSync: () => ({ status: null }),
}))

it('a directory of the current user needs no program of the system', () => {
  expect(reachable(tmpdir(), undefined)).toBe(true)
  expect(reachable(join(tmpdir(), 'missing'), undefined)).toBe(false)
})
