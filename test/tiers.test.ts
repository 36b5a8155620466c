/** Tests that each test file is run by CI or listed with the reason why not, and that CI tells what all of its parts found. */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { checkout, environmentWith } from '../temporal.config.ts'
import { openProgramFolder } from './support/programs/program-folder.ts'
import { byHand } from './tiers.ts'

const { scripts } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>
}

interface Report {
  passed: number
  failed?: number
  /** Files that could not be loaded. */
  unloaded?: number
  exitCode?: number
}

/** Runs CI with a program in place of npm that writes these reports, script → report. */
function runCi(reports: Readonly<Record<string, Report | undefined>>): {
  status: number | null
  last: string | undefined
  ran: string[]
} {
  const folder = openProgramFolder('tenure-ci-run-')
  onTestFinished(() => folder.remove())
  const cases = Object.entries(reports).flatMap(([script, report]) => {
    if (report === undefined) return []
    const { passed, failed = 0, unloaded = 0, exitCode = failed + unloaded > 0 ? 1 : 0 } = report
    const testResults = Array(unloaded).fill({ status: 'failed', assertionResults: [] })
    const text = JSON.stringify({ numPassedTests: passed, numFailedTests: failed, testResults })
    return `${script}) echo '${text}' >"\${to#--outputFile.json=}"; exit ${exitCode};;`
  })
  const log = join(folder.home, 'log')
  folder.program(
    'npm',
    `echo "$2" >>'${log}'\nfor to; do :; done\ncase "$2" in\n${cases.join('\n')}\nesac\nexit 1`,
  )
  folder.link('bash', 'dirname', 'mktemp', 'node', 'rm', 'timeout')
  const { status, stdout } = spawnSync('bash', [join(checkout, '.ci', 'run')], {
    env: environmentWith({ PATH: folder.bin }),
    encoding: 'utf8',
  })
  return {
    status,
    last: stdout.trim().split('\n').at(-1),
    ran: readFileSync(log, 'utf8').trim().split('\n'),
  }
}

/** Returns each test file of these projects with its project. */
function filesOf(projects: readonly string[]): Map<string, string> {
  const listed = execFileSync('npx', ['vitest', 'list', '--filesOnly', '--json'], {
    cwd: checkout,
    encoding: 'utf8',
  })
  return new Map(
    (JSON.parse(listed) as { file: string; projectName: string }[])
      .filter(({ projectName }) => projects.includes(projectName))
      .map(({ file, projectName }) => [relative(checkout, file), projectName]),
  )
}

it('each test file is in one tier that CI runs, or in the list of those that it does not run, with the reason', () => {
  const { ran } = runCi({})
  const projects = ran.flatMap((script) =>
    [...scripts[script]!.matchAll(/--project (\S+)/g)].map(([, name]) => name!),
  )
  expect(new Set(projects).size).toBe(projects.length)
  const inTiers = filesOf(projects)
  const all = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '--', '*.test.ts'], {
    cwd: checkout,
    encoding: 'utf8',
  })
  expect([...inTiers.keys(), ...Object.keys(byHand)].sort()).toEqual(all.trim().split('\n').sort())
  for (const [file, reason] of Object.entries(byHand)) expect(reason, file).toMatch(/^\S.{10,}$/)

  // The page names, for each promise that is proved at length, tests of `npm test` that prove it with less.
  const page = readFileSync(join(checkout, 'test', 'README.md'), 'utf8')
  const [table = ''] = page.split('| promise |')[1]!.split('\n\n')
  const rows = [...table.matchAll(/^\| .+? \| (.+?) \| (.+?) \|$/gm)]
  expect(rows.length).toBeGreaterThan(9)
  for (const [row, fast, long] of rows) {
    const tiersOf = (cell = '') =>
      [...cell.matchAll(/`((?:test|packages)\/.+?)`/g)].map(([, file = '']) => inTiers.get(file))
    expect(tiersOf(fast), row).toEqual(
      tiersOf(fast).map(() => expect.stringMatching(/^(pure|programs|real|packages)$/) as string),
    )
    expect([tiersOf(fast).length > 0, new Set(tiersOf(long))], row).toEqual([true, new Set(['long'])])
  }
})

it.each<[string, Record<string, Report | undefined>, string, number]>([
  ['all pass', {}, '10 passed, 0 failed', 0],
  ['one fails first', { test: { passed: 5, failed: 1 } }, '10 passed, 1 failed', 1],
  ['one fails last', { 'test:long': { passed: 2, failed: 2 } }, '10 passed, 2 failed', 1],
  ['a file cannot be loaded', { test: { passed: 5, unloaded: 1 } }, '10 passed, 1 failed', 1],
  ['no test runs at length', { 'test:long': { passed: 0 } }, '8 passed, 1 failed', 1],
  ['a run ends without a report', { test: undefined }, '5 passed, 1 failed', 1],
  ['the runner fails after the tests', { test: { passed: 5, exitCode: 3 } }, '10 passed, 0 failed', 3],
])('CI tells the sum of all runs when %s', (_, reports, last, status) => {
  const usual = { test: { passed: 5 }, 'test:packages': { passed: 3 }, 'test:long': { passed: 2 } }
  expect(runCi({ ...usual, ...reports })).toEqual({ status, last, ran: Object.keys(usual) })
})
