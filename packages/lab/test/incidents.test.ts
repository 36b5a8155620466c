/** Tests the cases of `npm run bench -- incidents`: each is repeatable and hurts, and a program gets the verdicts of the rule it implements. */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sumOf } from '@tenure/sequential'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { allRules } from '../worth/contenders.ts'
import { caseLines, cases, caseStream, digestOf, shownAfterDays } from '../incidents/cases.ts'
import { openCalmWeeks, playCase, type CalmWeeks } from '../incidents/play.ts'
import { programRule } from '../incidents/program.ts'
import { shortDigest } from '../incidents/report.ts'
import { reportFile } from '../harness/options.ts'

const named = (name: string) => cases.find((each) => each.name === name)!
const ruleOf = (name: string) => allRules().find((rule) => rule.name === name)!

/** Returns the command of a program in JavaScript. */
async function programOf(source: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tenure-program-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'program.mjs')
  await writeFile(file, source)
  return `node ${file}`
}

describe('the data of a case', () => {
  const page = readFileSync(reportFile('incidents/incidents.md'), 'utf8')

  it.each(cases)('$name is that of the page, and another seed gives other data', ({ name }) => {
    const size = { seed: 1, rowsAWeek: 5_000 }
    expect(page).toContain(`| \`${shortDigest(size, name)}\` |`)
    expect(shortDigest({ ...size, seed: 2 }, name)).not.toBe(shortDigest(size, name))
  })

  it('differs from that without a failure, except in a feedback loop, whose labels depend on the answers', () => {
    const size = { seed: 1, rowsAWeek: 500 }
    const digests = [undefined, ...cases].map((failure) => digestOf(caseLines(size, failure)))
    expect(cases.filter((_, place) => digests[place + 1] === digests[0])).toEqual([named('feedback loop')])
    expect(new Set(digests).size).toBe(cases.length)
  })
})

it('outcomes show a failure of requests after a day, and one of the table a day after the next weekly version', () => {
  const stream = caseStream({ seed: 1, rowsAWeek: 500 })
  const days = (shown: number) =>
    cases.filter((each) => shownAfterDays(stream, each) === shown).map(({ name }) => name)
  expect(days(1)).toEqual([
    'unit change',
    'frozen feature',
    'silent null',
    'category renamed',
    'time-zone shift',
    'seasonal break',
    'base rate moves',
  ])
  expect(days(8)).toEqual(['duplicated campaign', 'label leakage', 'feedback loop', 'popularity attack'])
})

describe('a played case', () => {
  let calm: CalmWeeks[]
  beforeAll(async () => {
    calm = await Promise.all(
      [1, 2, 3].map((seed) => openCalmWeeks({ seed, rowsAWeek: 2_500 }, { again: false })),
    )
  })

  it('harms no answer of weekly versions without a failure', async () => {
    const [result] = await playCase(calm[0]!, undefined, [ruleOf('weekly, unjudged')])
    expect(result).toMatchObject({ harmed: 0, falseAlarmDays: 0, alarmDays: 0 })
  })

  const learnt = named('base rate moves')
  const failures = cases.filter((each) => each !== learnt)
  it.each(failures)('$name harms answers of weekly versions that are released unjudged', async (failure) => {
    const harmed: number[] = []
    for (const each of calm) {
      const [result] = await playCase(each, failure, [ruleOf('weekly, unjudged')])
      harmed.push(result!.harmed)
    }
    expect(sumOf(harmed)).toBeGreaterThan(0)
  })

  it('counts better versions as blocked when only their decisions are better, because a base rate has moved', async () => {
    const [weekly, never] = await playCase(calm[1]!, learnt, [
      ruleOf('weekly, unjudged'),
      programRule(await programOf(`for (let day = 0; day < 60; day++) console.log('{"verdict":"hold"}')`)),
    ])
    expect(weekly!.harmed).toBeLessThan(never!.harmed - 200)
    expect(weekly!.blockedWeeks).toBe(0)
    expect(never!.blockedWeeks).toBeGreaterThan(0)
  })

  it('gives a program the verdicts of the rule that it implements', async () => {
    const results = await playCase(calm[0]!, named('time-zone shift'), [
      ruleOf('hold-out threshold'),
      programRule(`python3 ${reportFile('incidents/holdout.py')}`),
    ])
    const [own, program] = results.map((result) => ({ ...result, rule: undefined }))
    expect(own!.alarms.length).toBeGreaterThan(0)
    expect(program).toEqual(own)
  })

  it.each([
    ['ends early', 'process.exit()', /ended before its verdict of day 0: write one line/],
    ['writes no JSON', "console.log('release')", /wrote release on day 0, which is no verdict/],
    [
      'writes an unknown word',
      `console.log('{"verdict":"wait"}')`,
      /wrote \{"verdict":"wait"\} on day 0, which is no verdict/,
    ],
    [
      'releases without a candidate',
      `for (let day = 0; day < 60; day++) console.log('{"verdict":"release"}')`,
      /releases, but no version waits: write the verdict hold/,
    ],
    [
      'rolls back to nothing',
      `for (let day = 0; day < 60; day++) console.log('{"verdict":"rollback"}')`,
      /rolls back, but no version served before: write the verdict hold/,
    ],
  ])('stops with an error when a program %s', async (_, source, message) => {
    await expect(playCase(calm[0]!, undefined, [programRule(await programOf(source))])).rejects.toThrow(
      message,
    )
  })

  it('lets a program try a version on a share of the requests, train again and roll back', async () => {
    const program = await programOf(
      `const verdicts = { 3: { train: true }, 4: { verdict: 'release', share: 0.25 }, 5: { verdict: 'rollback' }, 7: { verdict: 'release' }, 9: { verdict: 'rollback', alarm: 'as told' } }
       for (let day = 0; day < 60; day++) console.log(JSON.stringify({ verdict: 'hold', ...verdicts[day] }))`,
    )
    const [result] = await playCase(calm[0]!, undefined, [programRule(program)])
    expect(result!.served.slice(3, 10)).toEqual([
      ['v0.0'],
      ['v0.0', 'v0.4'],
      ['v0.0'],
      ['v0.0'],
      ['v1.0'],
      ['v1.0'],
      ['v0.0'],
    ])
    expect(result!.alarms).toEqual([{ day: 9, text: 'as told' }])
  })
})
