/** Tests which tests `npm run test:changed` runs for a change. */
import { expect, it } from 'vitest'
import { testsOf, usersAmong } from './tidy/reach.ts'

const texts: Readonly<Record<string, string>> = {
  'packages/sequential/src/index.ts': `export { auc } from './auc.ts'\nexport { alpha } from './alpha.ts'`,
  'packages/sequential/src/auc.ts': 'export const auc = 1',
  'packages/sequential/src/alpha.ts': 'export const alpha = 1',
  'packages/sequential/test/auc.test.ts': `import { auc } from '../src/auc.ts'`,
  'domain/gate.ts': `import { auc } from '@tenure/sequential'\nexport const gate = auc`,
  'domain/alphas.ts': `import { alpha } from '@tenure/sequential'\nexport const alphas = alpha`,
  'activities/judge.ts': `import { gate } from '../domain/gate.ts'\nimport type { Alphas } from '../domain/alphas.ts'`,
  'activities/start.ts': `start('activities/judge.ts')`,
  'test/domain/gate.test.ts': `import { gate } from '../../domain/gate.ts'`,
  'test/domain/alphas.test.ts': `import { alphas } from '../../domain/alphas.ts'`,
  'test/activities/judge.test.ts': `import '../../activities/judge.ts'`,
  'test/activities/start.test.ts': `import '../../activities/start.ts'`,
  'test/tidy.test.ts': '',
}
const tests = Object.keys(texts).filter((path) => path.endsWith('.test.ts'))
const users = usersAmong(Object.entries(texts).map(([path, text]) => ({ path, text })))
const chosen = (path: string) => testsOf([path], tests, users)

it.each<[string, string, string[]]>([
  [
    'over imports and the names of started files, and not over types',
    'domain/gate.ts',
    ['test/domain/gate.test.ts', 'test/activities/judge.test.ts', 'test/activities/start.test.ts'],
  ],
  ['of a test by itself', 'test/domain/gate.test.ts', ['test/domain/gate.test.ts']],
  ['without a file that imports it', 'domain/alphas.ts', ['test/domain/alphas.test.ts']],
  [
    'in a package as far as the files that import its part, and their tests',
    'packages/sequential/src/auc.ts',
    ['packages/sequential/test/auc.test.ts', 'test/domain/gate.test.ts'],
  ],
])('a change reaches tests %s', (_, path, reached) =>
  expect(chosen(path).run).toEqual([...reached, 'test/tidy.test.ts']),
)

it('what is left out is counted by the reason', () =>
  expect(chosen('packages/sequential/src/auc.ts').leftOut).toEqual({
    'reach a changed package only through other files of the product': 2,
    'neither import nor name a changed file': 1,
  }))

it.each(['migrations/0002_more.sql', 'package-lock.json', 'vitest.config.ts'])(
  '%s reaches every test',
  (path) => expect(chosen(path)).toEqual({ run: tests, leftOut: {} }),
)
