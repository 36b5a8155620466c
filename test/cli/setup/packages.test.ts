/** Tests when the npm packages of a checkout are current, and what is cached for the next checkout. npm is replaced by a script. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openProgramFolder, type ProgramFolder } from '../../support/programs/program-folder.ts'
import { packages } from '../../../cli/setup/packages.mjs'

let folder: ProgramFolder
let home: string
let bin: string
let program: ProgramFolder['program']
let link: ProgramFolder['link']

beforeEach(() => {
  folder = openProgramFolder('tenure-packages-')
  ;({ home, bin, program, link } = folder)
})
afterEach(() => folder.remove())

describe('the npm packages', () => {
  const lock = { packages: { '': {}, 'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' } } }

  it('are current only if npm finished and installed the locked versions', async () => {
    const reason = () =>
      packages({ root: home, cache: join(home, 'cache'), env: {}, arch: 'x64' }).missing({ deep: false })
    const installed = (text: string) => writeFileSync(join(home, 'node_modules', '.package-lock.json'), text)
    writeFileSync(join(home, 'package-lock.json'), JSON.stringify(lock))
    expect(await reason()).toBe('not installed yet')
    mkdirSync(join(home, 'node_modules', 'a'), { recursive: true })
    expect(await reason()).toBe('not installed yet')
    installed(JSON.stringify(lock))
    expect(await reason()).toBeUndefined()
    installed(JSON.stringify({ packages: { 'node_modules/a': { version: '1.0.1', integrity: 'sha512-b' } } }))
    expect(await reason()).toBe('node_modules/a is not as locked')
    installed(JSON.stringify(lock))
    rmSync(join(home, 'node_modules', 'a'), { recursive: true })
    expect(await reason()).toBe('node_modules/a is not installed')
  })

  it('are current with a new package of the repository as soon as it is linked', async () => {
    const reason = () =>
      packages({ root: home, cache: join(home, 'cache'), env: {}, arch: 'x64' }).missing({ deep: false })
    const own = { 'node_modules/@own/b': { link: true }, 'packages/b': { version: '0.1.0' } }
    mkdirSync(join(home, 'node_modules', 'a'), { recursive: true })
    writeFileSync(join(home, 'node_modules', '.package-lock.json'), JSON.stringify(lock))
    writeFileSync(join(home, 'package-lock.json'), JSON.stringify({ packages: { ...lock.packages, ...own } }))
    expect(await reason()).toBe('node_modules/@own/b is not installed')
    for (const path of Object.keys(own)) mkdirSync(join(home, path), { recursive: true })
    expect(await reason()).toBeUndefined()
  })

  /** Makes a checkout whose npm installs one package and counts how often. */
  function checkoutWithPackage(name: string) {
    const root = join(home, name)
    mkdirSync(root)
    writeFileSync(join(root, 'package-lock.json'), JSON.stringify(lock))
    const step = packages({ root, cache: join(home, 'cache'), env: { PATH: bin }, arch: 'x64' })
    const installed = join(root, 'node_modules', 'a', 'index.js')
    const read = () => readFileSync(installed, 'utf8')
    return { root, step, installed, read, make: () => step.make(() => {}) }
  }
  const npmThatInstalls = (text: string) => {
    program(
      'npm',
      `printf x >>${home}/npm-ran; rm -rf node_modules; mkdir -p node_modules/a node_modules/.bin; printf ${text} >node_modules/a/index.js; ln -s ../a/index.js node_modules/.bin/a; cp package-lock.json node_modules/.package-lock.json`,
    )
    link('node', 'sh', 'cp', 'ln', 'rm', 'mkdir', 'setpriv')
  }
  const npmRan = () => readFileSync(join(home, 'npm-ran'), 'utf8').length
  const archives = () => readdirSync(join(home, 'cache')).filter((name) => name.startsWith('packages-'))

  it('are unpacked from the cache for the next checkout, which shares no file with it', async () => {
    npmThatInstalls('one')
    link('tar')
    const first = checkoutWithPackage('first')
    expect(await first.make()).toBe('2 npm packages')
    const second = checkoutWithPackage('second')
    mkdirSync(join(second.root, 'node_modules', 'left-over'), { recursive: true })
    expect(await second.make()).toBe('2 npm packages, from the cache')
    expect(await second.step.missing({ deep: true })).toBeUndefined()
    expect(readdirSync(join(second.root, 'node_modules')).sort()).toEqual(['.bin', '.package-lock.json', 'a'])
    expect(readFileSync(join(second.root, 'node_modules', '.bin', 'a'), 'utf8')).toBe('one')
    writeFileSync(second.installed, 'edited')
    const third = checkoutWithPackage('third')
    await third.make()
    expect([first.read(), third.read(), npmRan()]).toEqual(['one', 'one', 1])
  })

  it('are installed by npm if their archive is cut short, damaged or of another lockfile', async () => {
    npmThatInstalls('one')
    link('tar')
    await checkoutWithPackage('first').make()
    const archive = join(home, 'cache', archives()[0]!, 'packages.tar')
    truncateSync(archive, 600)
    const second = checkoutWithPackage('second')
    expect(await second.make()).toBe('2 npm packages')
    expect([second.read(), npmRan()]).toEqual(['one', 2])
    const { mtime, size } = statSync(archive)
    writeFileSync(archive, readFileSync(archive, 'utf8').replace('one', 'two'))
    utimesSync(archive, mtime, mtime)
    expect(statSync(archive).size).toBe(size)
    expect(await second.step.missing({ deep: true })).toBe('packages.tar is damaged')
    expect(await second.step.make(() => {}, { deep: true })).toBe('2 npm packages')
    const other = checkoutWithPackage('other')
    writeFileSync(join(other.root, 'package-lock.json'), JSON.stringify({ ...lock, lockfileVersion: 3 }))
    expect(await other.make()).toBe('2 npm packages')
    expect([npmRan(), archives().length]).toEqual([4, 2])
    const last = checkoutWithPackage('last')
    writeFileSync(join(last.root, '.npmrc'), 'ignore-scripts=true')
    await last.make()
    expect([npmRan(), archives().length]).toEqual([5, 2])
  })

  it('are not taken for installed if the unpacking stopped half way', async () => {
    npmThatInstalls('one')
    link('tar')
    await checkoutWithPackage('first').make()
    rmSync(join(bin, 'tar'))
    const second = checkoutWithPackage('second')
    program('tar', `mkdir -p ${dirname(second.installed)}; exit 1`)
    program('npm', 'exit 1')
    await expect(second.make()).rejects.toThrow('npm ended with exit code 1')
    expect(existsSync(dirname(second.installed))).toBe(true)
    expect(await second.step.missing({ deep: false })).toBe('not installed yet')
  })

  it('keep the ONNX Runtime and the core of Temporal for this processor alone', async () => {
    const places = ['linux/x64', 'linux/arm64', 'darwin/arm64', 'win32/x64']
    const binaries = join(home, 'node_modules', 'onnxruntime-node', 'bin', 'napi-v6')
    const core = join(home, 'node_modules', '@temporalio', 'core-bridge', 'releases')
    const targets = ['x86_64-unknown-linux-gnu', 'aarch64-unknown-linux-gnu', 'x86_64-apple-darwin']
    const folders = [
      ...places.map((place) => join(binaries, place)),
      ...targets.map((target) => join(core, target)),
    ]
    program('npm', `mkdir -p ${folders.join(' ')}`)
    link('node', 'sh', 'mkdir', 'setpriv')
    const env = { PATH: bin }
    await packages({ root: home, cache: join(home, 'cache'), env, arch: 'x64' }).make(() => {})
    expect(readdirSync(binaries)).toEqual(['linux'])
    expect(readdirSync(join(binaries, 'linux'))).toEqual(['x64'])
    expect(readdirSync(core)).toEqual(['x86_64-unknown-linux-gnu'])
  })
})
