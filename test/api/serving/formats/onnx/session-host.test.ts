/** Tests that the process of ONNX Runtime may start slowly, and that it does not outlive its sessions. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { openSessionOf } from '../../../../../api/serving/formats/onnx/format.ts'
import { openOnnx } from '../../../../../api/serving/formats/onnx/open-onnx.ts'
import { createSessions } from '../../../../../api/serving/formats/onnx/session-host.ts'
import { demandingModel } from '../../../../support/formats/onnx-writer.ts'

const bytes = demandingModel(1)
const file = { name: 'session', bytes, layout: openOnnx(bytes).layout }

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

it('ends also where it goes on as a child of the process that was started, as with an older Node', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-node-'))
  const [older, pid] = [join(folder, 'node'), join(folder, 'pid')]
  const { execPath } = process
  writeFileSync(older, `#!/bin/sh\n'${execPath}' "$@" &\necho $! > '${pid}'\nwait\n`, { mode: 0o700 })
  const sessions = createSessions({ onError: () => {} })
  process.execPath = older
  const predictor = await openSessionOf(sessions, file).finally(() => (process.execPath = execPath))
  const output = new Float32Array(1)
  await predictor.run(Float64Array.of(3), 1, output)
  expect([...output]).toEqual([3])
  await sessions.stop()
  const child = Number(readFileSync(pid, 'utf8'))
  rmSync(folder, { recursive: true })
  await expect.poll(() => isAlive(child)).toBe(false)
})

it('may start more slowly than the limit of a graph, which begins when the process is ready', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const sessions = createSessions({ onError: () => {}, loadMs: 5_000 })
  const opening = openSessionOf(sessions, file)
  vi.advanceTimersByTime(6_000)
  vi.useRealTimers()
  const { outputs } = await opening
  expect(outputs).toBe(1)
  await sessions.stop()
})
