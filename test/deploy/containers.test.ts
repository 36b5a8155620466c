/** Tests that the files named by the container files exist, because no test builds the image. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkout, searchAttributes } from '../../temporal.config.ts'

const read = (name: string): string => readFileSync(join(checkout, name), 'utf8')
const files = { Dockerfile: read('Dockerfile'), 'compose.yaml': read('compose.yaml') }
const withoutComments = (text: string): string => text.replace(/^\s*#.*$/gm, '')

/** Paths of the checkout that stand in a text: with an ending of ours, or copied from the context. */
function pathsIn(text: string): string[] {
  const named = [...text.matchAll(/(?:[\w.-]+\/)*[\w.-]+\.(?:ts|mjs|json)\b/g)].map(([path]) => path)
  const copied = [...text.matchAll(/^COPY (?!--from)(.+)$/gm)].flatMap(([, list = '']) =>
    list.split(/\s+/).slice(0, -1),
  )
  return [...new Set([...named, ...copied])].map((path) => path.replace(/^\/?opt\/tenure\//, ''))
}

describe.each(Object.entries(files))('%s', (_name, text) => {
  const paths = pathsIn(withoutComments(text))

  it('names existing files', () => {
    expect(paths).toContain('api/start.mjs')
    expect(paths.filter((path) => !existsSync(join(checkout, path)))).toEqual([])
  })

  it('starts replicas from compiled code', () => {
    expect(withoutComments(text)).not.toMatch(/(CMD|command:).*api\/server\.ts/)
  })
})

it('the containers run npm scripts that exist', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const run = Object.values(files).flatMap((text) => [
    ...withoutComments(text).matchAll(/npm run (?:-s )?([\w:-]+)/g),
  ])
  expect(run.map(([, script = '']) => script).filter((script) => !(script in scripts))).toEqual([])
})

it('the processes of compose.yaml share artifacts and keys', () => {
  const shared = files['compose.yaml']
  for (const variable of ['TENURE_ARTIFACTS', 'TENURE_BATCHES', 'TENURE_SIGNING_KEY']) {
    const [, place = ''] = new RegExp(`${variable}: (\\S+)`).exec(shared) ?? []
    const [, directory = ''] = /^(\/var\/lib\/tenure\/\w+)/.exec(place) ?? []
    expect(shared, variable).toContain(`:${directory}\n`)
    expect(files.Dockerfile, variable).toMatch(new RegExp(`install -d .*${directory}`))
  }
  for (const name of searchAttributes) expect(shared).toMatch(new RegExp(`for name in.*\\b${name}\\b`))
})
