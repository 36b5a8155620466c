/**
 * Upgrades a system from an older commit to this build in the middle of a canary and under load, with a good and with a bad candidate, and
 * compares the endings with those of the older commit alone; writes packages/lab/upgrade/upgrade.md.
 * `npm run bench -- upgrade [--from COMMIT --canary SECONDS --rate N --only good]`
 */
import { isDeepStrictEqual } from 'node:util'
import { writeFileSync } from 'node:fs'
import { figureTable, machine, roundedNumber as whole } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { prepareFormer } from './former.ts'
import { runUpgrade, type UpgradeCandidate, type StoryReport } from './story.ts'

const options = readOptions({
  /** Default: the first commit whose databases this build can migrate. */
  from: '',
  canary: 120,
  side: 3,
  rate: 200,
  only: '',
  out: reportFile('upgrade/upgrade.md'),
})

const former = await prepareFormer(options.from)
const candidates = (['good', 'bad'] as const).filter((each) => options.only === '' || options.only === each)
const told: { report: StoryReport; expected: StoryReport; issues: string[] }[] = []
for (const candidate of candidates) {
  const expected = await play(candidate, false)
  const report = await play(candidate, true)
  const issues = issuesOf(report, expected)
  told.push({ report, expected, issues })
  for (const issue of issues) console.log(`${candidate}: ${issue}`)
}
const failed = told.reduce((sum, { issues }) => sum + issues.length, 0)
console.log(`upgrade: ${failed} issues`)
if (failed > 0) process.exitCode = 1
writeFileSync(options.out, page())

/** A replica without processor time refuses late requests, and their callers send them again. */
function isRefusal({ why }: StoryReport['failures'][number]): boolean {
  return why === '503 overloaded'
}

/** The models of this stage have no files, so the sync of the migration records that they are removed. */
function endsEqually(one: StoryReport, other: StoryReport): boolean {
  const endingOf = ({ ending }: StoryReport) => ({
    ...ending,
    audit: ending.audit.filter((action) => action !== 'model.removed'),
  })
  return isDeepStrictEqual(endingOf(one), endingOf(other))
}

async function play(candidate: UpgradeCandidate, upgrades: boolean): Promise<StoryReport> {
  const report = await runUpgrade(former, {
    candidate,
    upgrades,
    canarySeconds: upgrades ? options.canary : 6,
    sideBySideSeconds: options.side,
    requestsPerSecond: options.rate,
    say: (line) => console.log(`${candidate}: ${line}`),
  })
  console.log(JSON.stringify({ upgrades, ...report }))
  return report
}

function issuesOf(report: StoryReport, expected: StoryReport): string[] {
  const { failures, issues, ending, steps, work, checked } = report
  const last = steps.at(-1)!
  return [
    ...issues,
    ...failures
      .filter((failure) => !isRefusal(failure))
      .slice(0, 5)
      .map(({ why }) => `a prediction failed: ${why}`),
    ...(endsEqually(report, expected)
      ? []
      : [`it ended as ${JSON.stringify(ending)}, without an upgrade as ${JSON.stringify(expected.ending)}`]),
    ...(report.candidate === 'bad' || last.release === 'canary 1'
      ? []
      : [`the last step ended in ${last.release} and not in mid-canary: give --canary more seconds`]),
    ...(work.formerTasks > 0 && work.presentTasks > 0 ? [] : ['one build has done all the work']),
    ...(checked.endsWith('This build fits the installation.') ? [] : [`the check says: ${checked}`]),
  ]
}

function figuresOf(name: string, report: StoryReport, isEqual?: boolean): string[] {
  const { answered, failures, perSecond, p50Ms, p99Ms, maxMs, ending } = report
  const refused = failures.filter(isRefusal).length
  return [
    name,
    whole(answered),
    String(failures.length - refused),
    String(refused),
    whole(perSecond),
    ...[p50Ms, p99Ms, maxMs].map((ms) => ms.toFixed(1)),
    ending.outcome ?? 'none',
    isEqual === undefined ? '' : isEqual ? 'yes' : 'no',
  ]
}

function page(): string {
  const one = (value: number) => value.toFixed(1)
  return [
    '# An upgrade in mid-canary',
    '',
    `Made by \`npm run bench -- upgrade\` on ${machine}. The machine was shared with other work.`,
    '',
    `A system of the commit ${former.commit} (${former.date}) runs two replicas on one port, two control workers, a training worker, Postgres and Temporal. A`,
    `release is in its first canary stage at 20 %, and callers send ${options.rate} predictions a second. First \`tenure upgrade check\` of this build runs, then`,
    '`tenure models sync` migrates the database, then each process is replaced in turn. After each step both builds work side by',
    `side for ${options.side} s. The *reference* is the same release without an upgrade; outcome, routes, audit rows, commands and versions must be equal.`,
    'The bad candidate answers wrongly only once half of the processes are replaced.',
    '',
    ...figureTable(
      'candidate | answered | failed | refused | per second | p50 ms | p99 ms | max ms | outcome | equal to the reference',
      told.flatMap(({ report, expected }) => [
        figuresOf(`${report.candidate}, upgraded`, report, endsEqually(report, expected)),
        figuresOf(`${report.candidate}, reference`, expected),
      ]),
    ),
    '',
    'A *refused* request received 503 `overloaded`: it waited longer than the replica allows, because other work took processor time. The reference shows how',
    'often that happens without an upgrade.',
    '',
    'The history of the release shows which build did its work. A *failed task* is one that a worker could not replay.',
    '',
    ...figureTable(
      'candidate | workflow tasks of the former build | of this build | activities of the former | of this build | failed tasks',
      told.map(({ report: { candidate, work } }) => [
        candidate,
        ...[
          work.formerTasks,
          work.presentTasks,
          work.formerActivities,
          work.presentActivities,
          work.failedTasks,
        ].map(String),
      ]),
    ),
    '',
    ...told.flatMap(({ report: { candidate, steps, reason, checked } }) => [
      `## The ${candidate} candidate`,
      '',
      ...figureTable(
        'step | seconds | failed or refused | the release is then in',
        steps.map((step) => [step.name, one(step.seconds), String(step.failed), step.release]),
        { figures: '---' },
      ),
      '',
      `The release ends: ${reason || 'promoted'}. The check has said:`,
      '',
      '```text',
      checked,
      '```',
      '',
    ]),
  ].join('\n')
}
