/** Checks that every test that SECURITY.md names exists, and that each claim names one. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'

const page = readFileSync(join(checkout, 'SECURITY.md'), 'utf8')

/** A file and the titles that lead to a test, outermost first. */
interface Named {
  path: string
  titles: string[]
}

const namedIn = (text: string): Named[] =>
  [...text.matchAll(/`((?:packages\/[\w-]+\/)?test\/[^`:]+\.test\.ts): ([^`]+)`/g)].map(
    ([, path = '', titles = '']) => ({
      path,
      titles: titles.split(' > '),
    }),
  )

/** Returns an issue if the file lacks a title. A title is in quotation marks and followed by the next argument. */
function issueOf({ path, titles }: Named): string[] {
  const file = join(checkout, path)
  if (!existsSync(file)) return [`${path} does not exist`]
  const source = readFileSync(file, 'utf8').replaceAll(String.raw`\'`, "'")
  return titles
    .filter((title) => !["'", '"', '`'].some((mark) => source.includes(`${mark}${title}${mark},`)))
    .map((title) => `${path} has no test "${title}"`)
}

/** Returns rows that say what an attacker cannot do but name no test. */
const unshown = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => /^\|.*\| cannot \||^\| cannot \|/.test(line) && namedIn(line).length === 0)

describe('SECURITY.md', () => {
  it('names tests that exist', () => {
    expect(namedIn(page).length).toBeGreaterThan(50)
    expect(namedIn(page).flatMap(issueOf)).toEqual([])
  })

  it('names a test for everything that an attacker cannot do', () => expect(unshown(page)).toEqual([]))

  it('has a section for each of seven attackers', () =>
    expect([...page.matchAll(/^### (.*)$/gm)].map(([, heading]) => heading)).toEqual([
      'A web page that a user visits',
      'A caller with a key for predictions',
      'Another user of this machine',
      'A client that reaches Temporal',
      'A client that reaches Postgres',
      'A writer of files that Tenure reads',
      'An operator, or a stolen key',
    ]))
})

it('a test that does not exist, and a claim without a test, are found', () => {
  const text = '| cannot | fly | `test/docs/security.test.ts: flies` |\n| cannot | swim | – |'
  expect(namedIn(text).flatMap(issueOf)).toEqual(['test/docs/security.test.ts has no test "flies"'])
  expect(unshown(text)).toEqual(['| cannot | swim | – |'])
  expect(issueOf({ path: 'test/none.test.ts', titles: [] })).toEqual(['test/none.test.ts does not exist'])
})
