/** Tests the set-up of the servers with real processes, real locks, and fast replacements for Go. Nothing is downloaded. */
import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { install } from '../src/install.ts'
import { takeLock } from '../src/install/lock.mjs'
import { faultOf, makePart, removeAbandonedDrafts } from '../src/install/part.mjs'
import { startProgress } from '../src/install/progress.mjs'
import { temporal, temporalPath } from '../src/install/temporal.mjs'
import { temporalCli } from '../src/temporal.ts'
import { root } from './support/pages.ts'

let home: string
let bin: string

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'embedded-install-'))
  bin = join(home, 'bin')
  mkdirSync(bin)
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(home, { recursive: true, force: true })
})

function program(name: string, script: string): void {
  writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`)
  chmodSync(join(bin, name), 0o755)
}

describe('the installation', () => {
  const output = () => {
    let text = ''
    const stream = new Writable({ write: (chunk, _encoding, done) => ((text += String(chunk)), done()) })
    return { stream, text: () => text }
  }

  it('builds Temporal once into the cache, then only looks and prints nothing', async () => {
    vi.stubEnv('PATH', `${bin}:/usr/bin:/bin`)
    vi.stubEnv('TENURE_CACHE', join(home, 'cache'))
    vi.stubEnv('TEMPORAL_CLI', '')
    program(
      'go',
      `if [ "$1" = version ]; then echo go version go1.25.0; exit; fi; printf x >>${home}/go-ran; printf server >"$GOBIN/temporal"`,
    )
    expect(temporalCli).toThrow('Temporal is not installed')
    const first = output()
    await Promise.all([install({ output: first.stream }), install({ output: output().stream })])
    expect(first.text()).toMatch(/temporal: not there yet\n[^]*✓ temporal +Temporal CLI 1\.5\.1 .* built/)
    expect(readFileSync(temporalCli(), 'utf8')).toBe('server')
    const again = output()
    await install({ output: again.stream, verify: true })
    expect(again.text()).toBe('')
    expect(readFileSync(join(home, 'go-ran'), 'utf8')).toBe('x')
  })

  it('installs only the servers that are named', async () => {
    vi.stubEnv('TENURE_CACHE', join(home, 'cache'))
    await install({ servers: ['postgres'] })
    expect(existsSync(join(home, 'cache'))).toBe(false)
  })
})

describe('a cached part', () => {
  const make = (text: string) =>
    makePart(join(home, 'part'), async (draft) => writeFileSync(join(draft, 'file'), text))
  const file = () => join(home, 'part', 'file')

  it('is complete or absent', async () => {
    expect(await faultOf(join(home, 'part'))).toBe('not there yet')
    const broken = makePart(join(home, 'part'), async (draft) => {
      writeFileSync(join(draft, 'file'), 'half')
      throw new Error('interrupted')
    })
    await expect(broken).rejects.toThrow('interrupted')
    expect(existsSync(join(home, 'part'))).toBe(false)
    expect(readdirSync(join(home, 'partial'))).toEqual([])
    expect(await make('whole')).toBe(5)
    expect(await faultOf(join(home, 'part'), { deep: true })).toBeUndefined()
  })

  it('leaves its draft alone while its process runs', async () => {
    let drafts: string[] = []
    await makePart(join(home, 'part'), async (draft) => {
      writeFileSync(join(draft, 'file'), 'whole')
      for (const left of ['part-4194305-abcdef', 'left-by-an-older-build']) mkdirSync(join(draft, '..', left))
      removeAbandonedDrafts(home)
      drafts = readdirSync(join(draft, '..'))
    })
    expect(drafts).toEqual([expect.stringMatching(`^part-${process.pid}-`)])
    expect(existsSync(file())).toBe(true)
  })

  it('is refused if a file is shorter, missing or changed', async () => {
    await make('twelve bytes')
    truncateSync(file(), 4)
    expect(await faultOf(join(home, 'part'))).toBe('file has 4 bytes instead of 12')
    rmSync(file())
    expect(await faultOf(join(home, 'part'))).toBe('file is missing')
    writeFileSync(file(), 'other bytes!')
    expect(await faultOf(join(home, 'part'))).toBe('file is damaged')
  })

  it('is hashed again after its time changed, and trusted if the hash matches', async () => {
    await make('twelve bytes')
    utimesSync(file(), 1, 1)
    expect(await faultOf(join(home, 'part'))).toBeUndefined()
    const { files } = JSON.parse(readFileSync(join(home, 'part', 'receipt.json'), 'utf8'))
    expect(files[0].mtimeMs).toBe(1_000)
  })

  it('is found damaged by a deep check if size and time match', async () => {
    await make('twelve bytes')
    const { mtime } = statSync(file())
    writeFileSync(file(), 'other bytes!')
    utimesSync(file(), mtime, mtime)
    expect(await faultOf(join(home, 'part'), { deep: true })).toBe('file is damaged')
  })

  it('is rejected with an unreadable receipt', async () => {
    await make('twelve bytes')
    truncateSync(join(home, 'part', 'receipt.json'), 10)
    expect(await faultOf(join(home, 'part'))).toBe('not there yet')
  })
})

describe('the Temporal server', () => {
  const context = () => ({ cache: join(home, 'cache'), env: { PATH: bin }, arch: 'x64' })

  it('is taken from TEMPORAL_CLI or PATH, and a wrong TEMPORAL_CLI is refused', async () => {
    program('other', 'echo temporal version 1.5.1 \\(Server 1.29.2, UI 2.42.1\\)')
    const wrong = { ...context(), env: { PATH: bin, TEMPORAL_CLI: join(home, 'nothing') } }
    await expect(temporal(wrong).missing({ deep: false })).rejects.toThrow('TEMPORAL_CLI names')
    expect(await temporal(context()).missing({ deep: false })).toBe('not there yet')
    const named = { ...context(), env: { PATH: bin, TEMPORAL_CLI: join(bin, 'other') } }
    expect(await temporal(named).missing({ deep: false })).toBeUndefined()
    program('temporal', 'echo temporal version 1.9.1 \\(Server 1.32.0, UI 2.50.0\\)')
    expect(await temporal(context()).missing({ deep: false })).toBeUndefined()
    expect(temporalPath(context())).toBe(join(bin, 'temporal'))
  })

  it.each(['temporal version 1.5.1 \\(Server 1.29.1, UI 2.42.1\\)', 'temporal version 0.13.2', ''])(
    'is not taken from PATH without the known security fixes: %s',
    async (version) => {
      program('temporal', `echo ${version}`)
      expect(await temporal(context()).missing({ deep: false })).toBe('not there yet')
      expect(temporalPath(context())).not.toBe(join(bin, 'temporal'))
      const named = { ...context(), env: { PATH: bin, TEMPORAL_CLI: join(bin, 'temporal') } }
      await expect(temporal(named).missing({ deep: false })).rejects.toThrow('is not 1.29.2 or newer')
    },
  )

  it('is built from modules that are pinned by version and hash', () => {
    const pinned = readFileSync(join(root, 'src/install/go/go.mod'), 'utf8')
    expect(pinned).toMatch(/go.temporal.io\/server v1\.29\.7 /)
    expect(readFileSync(join(root, 'src/install/go/go.sum'), 'utf8')).toMatch(
      /^go\.temporal\.io\/server v1\.29\.7 h1:/m,
    )
  })

  it('reports both failures if it can neither be built nor downloaded', async () => {
    const failing = temporal(context()).make(() => {})
    await expect(failing).rejects.toThrow(/go 1\.21 or newer[^]*download failed too/)
    program(
      'go',
      'if [ "$1" = version ]; then echo go version go1.25.0; else echo no route to host >&2; exit 1; fi',
    )
    const told: string[] = []
    await expect(temporal(context()).make((line) => void told.push(line))).rejects.toThrow(
      /no route to host[^]*download failed too/,
    )
    expect(told.at(-2)).toBe(
      'cannot be built here (no route to host), waiting for the npm packages to download it',
    )
  })
})

describe('the lock', () => {
  it('makes a second set-up wait and names the holder', async () => {
    const path = join(home, 'lock')
    const release = await takeLock(path, () => {})
    const waited: string[] = []
    const second = takeLock(path, (holder) => waited.push(holder))
    await expect.poll(() => waited).toHaveLength(1)
    expect(waited[0]).toContain(`process ${process.pid}`)
    release()
    ;(await second)()
    expect(readdirSync(home)).toEqual(['bin'])
  })

  it('is taken over from a dead holder, and from a silent one on another host', async () => {
    const path = join(home, 'lock')
    const { pid } = spawn('true')
    for (const holder of [
      { pid, started: '1', host: execFileSync('hostname').toString().trim() },
      { pid: process.pid, started: '1', host: execFileSync('hostname').toString().trim() },
      { pid: 1, started: '1', host: 'elsewhere' },
    ]) {
      writeFileSync(path, JSON.stringify(holder))
      utimesSync(path, 1, 1)
      const release = await takeLock(path, () => {})
      release()
    }
  })
})

describe('the progress', () => {
  it('is one live line on a TTY and plain lines elsewhere', async () => {
    for (const isTTY of [true, false]) {
      let text = ''
      const progress = startProgress({ write: (more) => (text += more), isTTY, columns: 60 })
      const step = progress.begin('temporal', 'not there yet')
      step.update('12 modules fetched')
      if (isTTY) await expect.poll(() => text).toContain('… temporal 12 modules fetched')
      step.done('built, 213 MB')
      progress.stop()
      expect(text.includes('\r')).toBe(isTTY)
      expect(text).toMatch(/✓ temporal +built, 213 MB, \d/)
    }
  })
})
