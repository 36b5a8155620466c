/** Tests what the container files name and promise; `npm run image` builds and runs the image. */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readCompose } from '../support/deploy/compose-file.ts'
import { keyPurposes, purposesOf } from '../../store/signing/key-files.ts'
import { checkout, searchAttributes } from '../../temporal.config.ts'

const read = (name: string): string => readFileSync(join(checkout, name), 'utf8')
const files = { Dockerfile: read('Dockerfile'), 'compose.yaml': read('compose.yaml') }
const withoutComments = (text: string): string => text.replace(/^\s*#.*$/gm, '')

/** Returns the paths of the checkout in a text: with one of the project's file endings, or copied from the context. */
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

it('each build argument of the page about containers is one of the Dockerfile', () => {
  const page = read('docs/how-to/machines/container-image.md')
  const named = [...page.matchAll(/--build-arg (\w+)=/g)].map(([, name]) => name!)
  const known = [...files.Dockerfile.matchAll(/^ARG (\w+)/gm)].map(([, name]) => name!)
  expect(named).toContain('BASE')
  expect(known).toEqual(expect.arrayContaining(named))
})

it('npm and the image install each package of packages/ as its package.json asks', () => {
  type About = { name: string } & Record<'dependencies' | 'devDependencies' | 'optionalDependencies', object>
  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, About & { resolved?: string }>
  }
  const folders = readdirSync(join(checkout, 'packages'))
    .map((name) => `packages/${name}`)
    .filter((folder) => existsSync(join(checkout, folder, 'package.json')))
  expect(folders.length).toBeGreaterThan(5)
  for (const folder of folders) {
    const { name, dependencies, devDependencies, optionalDependencies } = JSON.parse(
      read(`${folder}/package.json`),
    ) as About
    expect(packages[folder], folder).toMatchObject({
      name,
      ...(dependencies && { dependencies }),
      ...(devDependencies && { devDependencies }),
      ...(optionalDependencies && { optionalDependencies }),
    })
    expect(packages[`node_modules/${name}`]?.resolved, name).toBe(folder)
    expect(files.Dockerfile).toContain(`COPY ${folder}/package.json ${folder}/\n`)
  }
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
  for (const variable of [
    'TENURE_ARTIFACTS',
    'TENURE_BATCHES',
    'TENURE_KEYS',
    'TENURE_TRUST',
    'TENURE_SUBJECT_KEY',
  ]) {
    const [, place = ''] = new RegExp(`${variable}: (\\S+)`).exec(shared) ?? []
    const [, directory = ''] = /^(\/var\/lib\/tenure\/\w+)/.exec(place) ?? []
    expect(shared, variable).toMatch(new RegExp(`:${directory}(/replicas)?\n`))
    expect(files.Dockerfile, variable).toContain(`${variable}=${directory}`)
    const [, , , , folder = ''] = directory.split('/')
    expect(files.Dockerfile, variable).toMatch(
      new RegExp(`for folder in .*\\b${folder}\\b|/opt/state/${folder}`),
    )
  }
  for (const name of searchAttributes) expect(shared).toMatch(new RegExp(`for name in.*\\b${name}\\b`))
})

it('compose.yaml starts what others wait for first, and not without its passwords', () => {
  const passwords = ['POSTGRES', 'TENURE_OWNER', 'TENURE_APP', 'TENURE_READER', 'TEMPORAL']
  const variables = Object.fromEntries(passwords.map((name) => [`${name}_PASSWORD`, `${name}'s`]))
  const services = readCompose(files['compose.yaml'], { ...variables, BUILD_ID: '7' })
  const order = services.map(({ name }) => name)
  for (const { name, dependsOn } of services)
    for (const other of Object.keys(dependsOn)) expect(order.indexOf(other)).toBeLessThan(order.indexOf(name))
  const api = services.find(({ name }) => name === 'api')!
  expect(api.image).toBe('tenure:7')
  expect(api.environment).toMatchObject({
    DATABASE_URL: "postgres://tenure_app:TENURE_APP's@postgres:5432/tenure",
    LOG_LEVEL: 'info',
    TENURE_PORT: '7400',
  })
  expect(services.find(({ name }) => name === 'search-attributes')!.command[0]).toContain('--name "$name"')
  expect(() => readCompose(files['compose.yaml'], { ...variables, TENURE_APP_PASSWORD: '' })).toThrow(
    'TENURE_APP_PASSWORD: set TENURE_APP_PASSWORD',
  )
})

describe('each container of compose.yaml', () => {
  const text = withoutComments(files['compose.yaml'])
  const shared = text.slice(text.indexOf('x-tenure:'), text.indexOf('services:'))
  const partOf = (name: string) => new RegExp(`\n  ${name}:\n((?:    .*\n|\n)*)`).exec(text)?.[1] ?? ''
  const mounts = (name: string) => {
    const part = partOf(name)
    const own = part.includes('volumes:') ? part : shared
    return [...own.matchAll(/- ([\w-]+):\/var\/lib\/tenure\/(keys|trust)\/(\w+)(:ro)?\n/g)].map(
      ([, volume, kind, purpose, readOnly]) => ({ volume, kind, purpose, readOnly: readOnly === ':ro' }),
    )
  }

  it.each([
    ['api', purposesOf.api],
    ['control', purposesOf.control],
    ['train', purposesOf.train],
  ] as const)('%s has its own private keys, and the public keys of the others to read', (name, purposes) => {
    const found = mounts(name)
    expect(found.filter(({ kind }) => kind === 'keys')).toEqual(
      purposes.map((purpose) => ({ volume: `key-${purpose}`, kind: 'keys', purpose, readOnly: false })),
    )
    const trusted = keyPurposes.map((purpose) => ({
      volume: `trust-${purpose}`,
      kind: 'trust',
      purpose,
      readOnly: !(purposes as readonly string[]).includes(purpose),
    }))
    expect(new Set(found.filter(({ kind }) => kind === 'trust'))).toEqual(new Set(trusted))
  })

  it('models, which signs nothing, has no key', () => {
    expect(partOf('models')).toContain('volumes:')
    expect(mounts('models')).toEqual([])
  })
})
