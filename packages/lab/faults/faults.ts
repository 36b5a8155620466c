/**
 * Runs the tests of every fault, or of those named, and prints the table of faults:
 * `npm run test:faults [-- --quick] [F2 F31 …]`; `--quick` prints the table only.
 */
import Table from 'cli-table3'
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { checkout } from '../../../temporal.config.ts'
import { faults, type FaultCase } from '../../../test/faults/table.ts'
import { figuresFile, type Figure } from '../../../test/faults/figures.ts'

interface Run {
  file: string
  name: string
  passed: boolean
}

const { values, positionals } = parseArgs({
  options: { quick: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const chosen = faults.filter(({ number }) => positionals.length === 0 || positionals.includes(number))
const home = mkdtempSync(join(tmpdir(), 'tenure-faults-'))
try {
  const runs = values.quick ? undefined : await runTests(chosen)
  const figures = values.quick ? [] : readFigures()
  print(chosen, runs, figures)
} finally {
  rmSync(home, { recursive: true, force: true })
  rmSync(figuresFile, { force: true })
}

/** Runs the test files of all faults in one vitest run. */
async function runTests(of: readonly FaultCase[]): Promise<Run[]> {
  const files = [...new Set(of.flatMap(({ shownBy = [] }) => shownBy.map(({ file }) => file)))]
  const report = join(home, 'report.json')
  writeFileSync(figuresFile, '')
  const args = ['vitest', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  await new Promise((resolve) =>
    spawn('npx', [...args, ...files], { cwd: checkout, stdio: 'inherit' }).once('exit', resolve),
  )
  const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as {
    testResults: { name: string; assertionResults: { fullName: string; status: string }[] }[]
  }
  return testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'passed' || status === 'failed')
      .map(({ fullName, status }) => ({
        file: relative(checkout, name),
        name: fullName,
        passed: status === 'passed',
      })),
  )
}

function readFigures(): Figure[] {
  return readFileSync(figuresFile, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Figure)
}

function print(
  rows: readonly FaultCase[],
  runs: readonly Run[] | undefined,
  figures: readonly Figure[],
): void {
  const table = new Table({
    head: ['#', 'fault', 'asked', 'reached', 'shown by'],
    colWidths: [5, 30, 34, 48, 38],
    wordWrap: true,
    style: { head: [], border: [] },
  })
  const count = { shown: 0, failed: 0, open: 0 }
  for (const fault of rows) {
    const { state, tests } = faultState(fault, runs)
    count[state]++
    table.push([fault.number, fault.fault, fault.asked, faultRemark(fault, figures, state), tests])
  }
  console.log(table.toString())
  console.log(
    `faults: ${count.shown} shown, ${count.failed} failed, ${count.open} not shown or not to be shown here`,
  )
  if (count.failed > 0) process.exitCode = 1
}

type State = 'shown' | 'failed' | 'open'

/** Returns the state of a fault from its tests. A pattern that matches no test counts as failed. */
function faultState(
  { shownBy = [] }: FaultCase,
  runs: readonly Run[] | undefined,
): { state: State; tests: string } {
  if (shownBy.length === 0) return { state: 'open', tests: '–' }
  const results = shownBy.map(({ file, tests }) => {
    const name = `${file.replace(/^(packages\/lab\/)?test\//, '').replace(/\.test\.ts$/, '')}${tests === undefined ? '' : ` (${tests})`}`
    if (runs === undefined) return { name, passed: true }
    const mine = runs.filter((run) => run.file === file && new RegExp(tests ?? '').test(run.name))
    const failed = mine.filter(({ passed }) => !passed)
    const passed = mine.length > 0 && failed.length === 0
    const counted =
      mine.length === 0 ? 'no such test ran' : `${mine.length - failed.length} of ${mine.length} pass`
    return { name: `${name}: ${counted}`, passed }
  })
  return {
    state: results.every(({ passed }) => passed) ? 'shown' : 'failed',
    tests: results.map(({ name }) => name).join('\n'),
  }
}

function faultRemark(
  { number, reached, weaker, cannot }: FaultCase,
  figures: readonly Figure[],
  state: State,
): string {
  if (cannot !== undefined) return `cannot be injected here: ${cannot}`
  if (state === 'open') return 'not shown yet'
  const measured = figures.filter(({ fault }) => fault === number)
  return [
    ...new Set(measured.map((figure) => figure.reached)),
    ...(reached === undefined ? [] : [reached]),
    ...(weaker === undefined ? [] : [`weaker: ${weaker}`]),
  ].join('\n')
}
