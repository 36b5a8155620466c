import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chapterAfter, chapters, readProgress, writeProgress } from '../../../cli/demo/progress.ts'
import { startAfterOthers, storyPolicy } from '../../../cli/demo/retraining.ts'
import { issuesOfPolicy } from '../../../domain/release/policy.ts'
import type { Store } from '../../../store/postgres.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(() => store.close())

describe('the progress of the demo', () => {
  it('starts on the first day with enough training data', async () => {
    expect(await readProgress(store)).toEqual({ replayedToMs: Date.UTC(2001, 0, 29), runs: 0 })
  })

  it('is restored as written', async () => {
    const progress = { replayedToMs: Date.UTC(2001, 2, 4), runs: 1 }
    await writeProgress(store, progress)
    await writeProgress(store, progress)
    expect(await readProgress(store)).toEqual(progress)
  })

  it('restarts on the first day at the end of the records', async () => {
    await writeProgress(store, { replayedToMs: Date.UTC(2001, 5, 12), runs: 4 })
    expect(await readProgress(store)).toEqual({ replayedToMs: Date.UTC(2001, 0, 29), runs: 4 })
  })
})

describe('the chapters of the demo', () => {
  it('are in order and leave two weeks for further tries', () => {
    const weekMs = 7 * 86_400_000
    const days = chapters.flatMap(({ challengerMs, faultyMs }) => [challengerMs, faultyMs])
    expect(days).toEqual(days.toSorted((a, b) => a - b))
    expect(Math.max(...days) + 2 * weekMs).toBeLessThan(Date.UTC(2001, 6, 1))
    expect(chapterAfter(Date.UTC(2001, 0, 29))).toBe(chapters[0])
    expect(chapterAfter(Date.UTC(2001, 2, 13))).toBe(chapters[1])
    expect(chapterAfter(Date.UTC(2001, 5, 12))).toBeUndefined()
  })
})

describe('the release policy of the demo', () => {
  it('is valid', () => expect(issuesOfPolicy(storyPolicy)).toEqual([]))

  it('has deadlines that sum to less than the wait limit of the demo', () => {
    const stages = [storyPolicy.shadow, ...storyPolicy.stages, storyPolicy.probation]
    const sum = stages.reduce((total, stage) => total + (stage?.deadlineMs ?? 0), 0)
    expect(sum + storyPolicy.watch.decisionMs).toBeLessThan(6_000_000)
  })
})

it('the demo waits for a retraining that its user has started, and for nothing else', async () => {
  const answers = ['retraining_in_progress', 'retraining_in_progress', undefined, 'unreachable']
  let waited = 0
  const start = () => {
    const code = answers.shift()
    return code === undefined
      ? Promise.resolve()
      : Promise.reject(Object.assign(new Error(code), { problem: { code, detail: code } }))
  }
  const wait = () => Promise.resolve(void waited++)
  await startAfterOthers(start, wait)
  expect(waited).toBe(2)
  await expect(startAfterOthers(start, wait)).rejects.toThrow('unreachable')
  expect(waited).toBe(2)
})
