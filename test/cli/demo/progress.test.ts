import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chapterAfter, chapters, readProgress, writeProgress } from '../../../cli/demo/progress.ts'
import { storyPolicy } from '../../../cli/demo/policy.ts'
import { issuesOfPolicy } from '../../../domain/release/policy.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { migratedDatabase } from '../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openStore(await migratedDatabase())
})
afterAll(() => store.close())

describe('the place of the story', () => {
  it('is the first day for which there is enough to train on', async () => {
    expect(await readProgress(store)).toEqual({ replayedToMs: Date.UTC(2001, 0, 29), told: 0 })
  })

  it('is where it was left', async () => {
    const place = { replayedToMs: Date.UTC(2001, 2, 4), told: 1 }
    await writeProgress(store, place)
    await writeProgress(store, place)
    expect(await readProgress(store)).toEqual(place)
  })

  it('is the first day again when the records are used up', async () => {
    await writeProgress(store, { replayedToMs: Date.UTC(2001, 5, 12), told: 4 })
    expect(await readProgress(store)).toEqual({ replayedToMs: Date.UTC(2001, 0, 29), told: 4 })
  })
})

describe('the chapters', () => {
  it('come one after the other, each with room for two more tries a week later', () => {
    const weekMs = 7 * 86_400_000
    const days = chapters.flatMap(({ challengerMs, faultyMs }) => [challengerMs, faultyMs])
    expect(days).toEqual(days.toSorted((a, b) => a - b))
    expect(Math.max(...days) + 2 * weekMs).toBeLessThan(Date.UTC(2001, 6, 1))
    expect(chapterAfter(Date.UTC(2001, 0, 29))).toBe(chapters[0])
    expect(chapterAfter(Date.UTC(2001, 2, 13))).toBe(chapters[1])
    expect(chapterAfter(Date.UTC(2001, 5, 12))).toBeUndefined()
  })
})

describe('the policy of the story', () => {
  it('is one that a release accepts', () => expect(issuesOfPolicy(storyPolicy)).toEqual([]))

  it('ends within its deadlines, which are below the patience of the one who tells it', () => {
    const stages = [storyPolicy.shadow, ...storyPolicy.stages, storyPolicy.probation]
    const sum = stages.reduce((total, stage) => total + (stage?.deadlineMs ?? 0), 0)
    expect(sum + storyPolicy.watch.decisionMs).toBeLessThan(600_000)
  })
})
