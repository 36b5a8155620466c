/** Tests qualification: each limit refuses by name, and the parent reports a child process that dies or never responds. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { qualificationLimits, quietly, refusalOf, runQualifier } from '../../../activities/release/qualify.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { putNetwork } from '../../support/release/candidates.ts'

const directory = mkdtempSync(join(tmpdir(), 'tenure-qualify-'))
const artifacts = openArtifacts(directory)
afterAll(() => {
  rmSync(directory, { recursive: true })
})
const good = {
  ok: true,
  model: 'm',
  goldenRows: 2,
  loadMs: 1,
  p50Us: 1,
  p99Us: 2,
  cpuUs: 1,
  rssBytes: 1e8,
  weightBytes: 1,
} as const
const script = (name: string, text: string): string => {
  const path = join(directory, name)
  writeFileSync(path, text)
  return path
}

describe('qualification refuses a candidate with', () => {
  it.each([
    ['that is slow', { ...good, p99Us: qualificationLimits.p99Us + 1 }, /µs at the 99th percentile/],
    ['that needs much memory', { ...good, rssBytes: qualificationLimits.rssBytes + 1 }, /MiB/],
    ['with large weights', { ...good, weightBytes: qualificationLimits.weightBytes + 1 }, /8388609 bytes/],
    ['that is one of another model', { ...good, model: 'other' }, /belongs to other, not to m/],
    [
      'that cannot be loaded',
      { ok: false, code: 'artifact_invalid', message: 'no weights' } as const,
      /no weights/,
    ],
  ])('%s', (_name, found, reason) => {
    expect(refusalOf(found, { model: 'm' })).toMatch(reason)
  })

  it('a valid candidate qualifies', () => {
    expect(refusalOf(good, { model: 'm' })).toBeUndefined()
  })
})

describe('a candidate that is too slow', () => {
  const slow = { ...good, p99Us: qualificationLimits.p99Us + 1 }
  const measured = async (found: readonly (typeof slow | typeof good)[], busy: readonly boolean[]) => {
    const [results, load] = [[...found], [...busy]]
    let sleeps = 0
    const answer = await quietly(
      () => Promise.resolve(results.shift()!),
      qualificationLimits,
      { sleep: () => Promise.resolve(void sleeps++) },
      () => load.shift() ?? false,
    )
    return { refused: refusalOf(answer, { model: 'm' }) !== undefined, sleeps, left: results.length }
  }

  it.each([
    ['is measured once more at the first quiet moment', [slow, good], [true, true, true], false, 2, 0],
    ['is refused after a minute of load', [slow, slow], Array<boolean>(20).fill(true), true, 12, 0],
    ['is refused at once by a quiet machine', [slow, good], [false], true, 0, 1],
    ['is measured once when it is fast', [good, slow], [true], false, 0, 1],
  ] as const)('%s', async (_, found, busy, refused, sleeps, left) =>
    expect(await measured(found, busy)).toEqual({ refused, sleeps, left }),
  )
})

describe('the qualification child process', () => {
  it('loads a real artifact, predicts its golden rows and measures latency', async () => {
    const found = await runQualifier([directory, await putNetwork(artifacts, 'm'), 'm_v1.0.0'])
    expect(found).toMatchObject({ ok: true, model: 'm', goldenRows: 2 })
    expect(found.ok && found.cpuUs).toBeGreaterThan(0)
    expect(refusalOf(found, { model: 'm' })).toBeUndefined()
  })

  it('measures again after a missed limit, and refuses a candidate that never meets it', async () => {
    const digest = await putNetwork(artifacts, 'm')
    const impossible = { ...qualificationLimits, p99Us: 0.001 }
    const found = await runQualifier([directory, digest, 'm_v1.0.0', String(impossible.p99Us)])
    expect(found).toMatchObject({ ok: true, measurements: 5 })
    expect(refusalOf(found, { model: 'm' }, impossible)).toMatch(/in the best of 5 measurements/)
    const generous = await runQualifier([directory, digest, 'm_v1.0.0', '1e9'])
    expect(generous).toMatchObject({ ok: true, measurements: 1 })
  })

  it('is killed when it never responds', async () => {
    const reachedMs = 400
    const found = await runQualifier([], {
      script: script('hang.mjs', 'setInterval(() => {}, 1)'),
      timeoutMs: reachedMs,
    })
    expect(refusalOf(found, { model: 'm' })).toMatch(/its process did not end within 0.4 s/)
  })

  it('is killed when it exceeds its memory limit', async () => {
    const eater = 'const all = []; for (;;) all.push(new Array(1e6).fill(all.length))'
    const found = await runQualifier([], { script: script('eat.mjs', eater) })
    expect(refusalOf(found, { model: 'm' })).toMatch(/its process (was ended by SIG|ended with)/)
  })

  it('is quoted when it fails before reporting a reason', async () => {
    const found = await runQualifier([], { script: script('throw.mjs', 'throw new Error("no such thing")') })
    expect(refusalOf(found, { model: 'm' })).toMatch(/its process ended with 1/)
  })
})
