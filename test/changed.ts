/**
 * Runs the tests that the changes since a commit can reach, and says what it leaves out and why: `npm run test:changed [-- COMMIT]`, since
 * `main` without one. `--list` only names them. `.ci/run` runs everything.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { checkout } from '../temporal.config.ts'
import { testsOf, usersAmong } from './tidy/reach.ts'

const { values, positionals } = parseArgs({
  options: { list: { type: 'boolean' } },
  allowPositionals: true,
})
const git = (...args: string[]) =>
  execFileSync('git', args, { cwd: checkout, encoding: 'utf8' }).split('\n').filter(Boolean)

const listed = git('ls-files', '-co', '--exclude-standard')
const files = listed
  .filter((path) => existsSync(join(checkout, path)) && !path.startsWith('test/histories/'))
  .map((path) => ({ path, text: readFileSync(join(checkout, path), 'utf8') }))
const tests = files.map(({ path }) => path).filter((path) => path.endsWith('.test.ts'))
const since = git('merge-base', positionals[0] ?? 'main', 'HEAD')[0]!
const changed = [...git('diff', '--name-only', since), ...git('ls-files', '-o', '--exclude-standard')]
const { run, leftOut } = testsOf(changed, tests, usersAmong(files))

console.log(
  `${changed.length} changed files since ${since.slice(0, 9)} reach ${run.length} of ${tests.length} test files.`,
)
for (const [reason, count] of Object.entries(leftOut))
  console.log(`Left out: ${count} test files that ${reason}.`)
console.log('Left out: those of them that run at length (`npm run test:long`).\n')
if (values.list) console.log(run.join('\n'))
else if (run.length > 0) {
  const projects = ['pure', 'programs', 'real', 'packages'].flatMap((name) => ['--project', name])
  const { status } = spawnSync('npx', ['vitest', 'run', ...projects, ...run], {
    cwd: checkout,
    stdio: 'inherit',
  })
  process.exitCode = status ?? 1
}
