/** Releases under way survive a deployment: recorded histories replay, and a change that would break them is caught. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { bundle, readHistories, replay, type Replayed } from '../support/histories.ts'
import { quietRuntime } from '../support/quiet.ts'

const recorded = readHistories()
/** Workflows that are no releases: what is planted in a release does not touch them. */
const others = ['drill', 'model-rollback', 'queue']
const releases = recorded.filter(({ name }) => !others.includes(name))
const fits = (replayed: Replayed[]) =>
  replayed.filter(({ problem }) => problem === undefined).map(({ name }) => name)

beforeAll(() => {
  quietRuntime()
})

it('releases of every end, a queue, a drill and the rollback of a model replay', async () => {
  const names = recorded.map(({ name }) => name)
  expect(names).toEqual(
    expect.arrayContaining(['promotion', 'rollback', 'rejection', 'abort', 'superseded', ...others]),
  )
  expect(await replay(await bundle(), recorded)).toEqual(names.map((name) => ({ name })))
})

describe('caught is', () => {
  it.each([
    [
      'a planted reorder',
      'workflows/release.ts',
      ['publish(opened())\n', 'await save()\n'],
      ['await save()\n', 'publish(opened())\n'],
    ],
    [
      'an added timer',
      'workflows/release.ts',
      ['return qualifying.qualify(state)'],
      ['await sleep(1)\n      return qualifying.qualify(state)'],
    ],
    [
      'a removed activity',
      'workflows/release.ts',
      ['await patient.recordRelease({ state: now, commands: [] })'],
      [''],
    ],
    [
      'a changed state machine',
      'domain/advance.ts',
      ["enter(state, 'awaiting_approval', event.atMs)"],
      ['goOn(state, event.atMs)'],
    ],
  ])('%s', async (_name, file, before, after) => {
    const root = mkdtempSync(join(tmpdir(), 'tenure-planted-'))
    try {
      for (const layer of ['workflows', 'domain'])
        cpSync(join(checkout, layer), join(root, layer), { recursive: true })
      mkdirSync(join(root, 'activities'))
      symlinkSync(join(checkout, 'node_modules'), join(root, 'node_modules'))
      const path = join(root, file)
      let text = readFileSync(path, 'utf8')
      for (const [i, part] of before.entries()) {
        expect(text).toContain(part)
        text = text.replace(part, `/* ${i} */`)
      }
      for (const [i, part] of after.entries()) text = text.replace(`/* ${i} */`, part)
      writeFileSync(path, text)
      const replayed = await replay(await bundle(root), releases)
      expect(fits(replayed)).toEqual([])
      expect(replayed[0]?.problem).toMatch(/Nondeterminism|non-?determinis/i)
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })
})
