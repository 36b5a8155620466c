/** Tests what is left out of the container image; `npm run image` builds and runs it. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { removeBundler } from '../../deploy/package/without-bundler.mjs'
import { shipped, withoutDevelopment } from '../../deploy/package/system.mjs'
import { checkout } from '../../temporal.config.ts'

const folder = mkdtempSync(join(tmpdir(), 'tenure-image-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Makes a folder with packages: path → dependencies. */
function system(name: string, packages: Record<string, string[]>): string {
  const root = join(folder, name)
  const locked = Object.fromEntries(
    Object.entries(packages).map(([path, needs]) => [
      path,
      { dependencies: Object.fromEntries(needs.map((each) => [each, '1'])) },
    ]),
  )
  for (const path of Object.keys(packages)) mkdirSync(join(root, path), { recursive: true })
  writeFileSync(join(root, 'package-lock.json'), JSON.stringify({ packages: locked }))
  return root
}

it('holds packages without their development dependencies, which npm would call missing', () => {
  const packages = join(folder, 'packages')
  cpSync(join(checkout, 'packages'), packages, {
    recursive: true,
    filter: (path) => !/\/(src|test|tests|bench|dist|node_modules)$/.test(path),
  })
  withoutDevelopment(packages)
  const kept = readdirSync(packages).flatMap((name) => {
    const path = join(packages, name, 'package.json')
    return existsSync(path) ? [JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>] : []
  })
  expect(kept.length).toBeGreaterThan(4)
  expect(kept.filter((each) => 'devDependencies' in each)).toEqual([])
})

describe('the compiler of workflows', () => {
  it('is removed with what only it needs', () => {
    const root = system('alone', {
      '': ['@temporalio/worker', 'pino'],
      'node_modules/@temporalio/worker': ['webpack', 'rxjs'],
      'node_modules/webpack': ['terser', 'rxjs'],
      'node_modules/terser': [],
      'node_modules/rxjs': [],
      'node_modules/pino': [],
    })
    expect(removeBundler(root)).toEqual(['node_modules/webpack', 'node_modules/terser'])
    expect(existsSync(join(root, 'node_modules/terser'))).toBe(false)
    expect(existsSync(join(root, 'node_modules/rxjs'))).toBe(true)
  })

  it('leaves a module that Temporal imports', () => {
    const root = system('stub', { '': ['webpack'], 'node_modules/webpack': [] })
    removeBundler(root)
    expect(readFileSync(join(root, 'node_modules/webpack/index.js'), 'utf8')).toContain('compiled')
  })

  it('does not take along a package of that name inside of another one', () => {
    const root = system('nested', {
      '': ['pg', 'webpack'],
      'node_modules/webpack': ['terser'],
      'node_modules/terser': [],
      'node_modules/pg': ['terser'],
      'node_modules/pg/node_modules/terser': [],
    })
    expect(removeBundler(root)).toEqual(['node_modules/webpack', 'node_modules/terser'])
    expect(existsSync(join(root, 'node_modules/pg/node_modules/terser'))).toBe(true)
  })

  it('does not take along a package of the repository, which only its sources name', () => {
    const root = system('own', {
      '': ['webpack'],
      'node_modules/@tenure/sequential': [],
      'node_modules/counted': [],
      'node_modules/webpack': [],
      'packages/sequential': ['counted'],
    })
    const lock = join(root, 'package-lock.json')
    const { packages } = JSON.parse(readFileSync(lock, 'utf8'))
    packages['node_modules/@tenure/sequential'] = { resolved: 'packages/sequential', link: true }
    writeFileSync(lock, JSON.stringify({ packages }))
    expect(removeBundler(root)).toEqual(['node_modules/webpack'])
    expect(existsSync(join(root, 'packages/sequential'))).toBe(true)
    expect(existsSync(join(root, 'node_modules/counted'))).toBe(true)
  })
})

const { dependencies } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>
}
const ownPackages = Object.keys(dependencies).flatMap((name) => /^@tenure\/(.*)/.exec(name)?.[1] ?? [])

it.each(ownPackages)(
  'the package %s, which the product imports, is shipped, and its package.json is in the image before npm installs',
  (name) => {
    expect(shipped).toEqual(expect.arrayContaining([`packages/${name}/package.json`, `packages/${name}/src`]))
    const dockerfile = readFileSync(join(checkout, 'Dockerfile'), 'utf8')
    const [before = ''] = dockerfile.split('RUN npm ci')
    expect(before).toContain(`COPY packages/${name}/package.json packages/${name}/`)
    expect(JSON.parse(readFileSync(join(checkout, 'packages', name, 'package.json'), 'utf8'))).toMatchObject({
      name: `@tenure/${name}`,
      license: 'Apache-2.0',
      exports: { '.': './src/index.ts' },
    })
  },
)

it('the context of the image holds all that is shipped', () => {
  const ignored = readFileSync(join(checkout, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('*'))
  const lost = shipped.filter((path) => ignored.some((each) => path === each || path.startsWith(`${each}/`)))
  expect(lost).toEqual([])
  expect(shipped.filter((path) => !existsSync(join(checkout, path)))).toEqual([])
})
