/**
 * Follows a page word for word in a copy of the checkout: types each block into one shell, which keeps what was
 * set before, and looks for what the page says it shows.
 *
 * What is not as for a reader, and cannot be in a test: the copy's packages are links to those of this checkout, its state is a directory
 * of its own, and its ports are free ones (TENURE_PORT=0 …), so that tests beside this one are not met. A page therefore asks
 * `tenure status` where the API is, and does not write a port down. npm takes a second of a core for each `npx tenure`: only what stays
 * in a terminal calls it; the shell calls what it would start. The comments above a block say what it is:
 *
 * - `<!-- shows: text -->`: it is typed once, ends well, and has shown this.
 * - `<!-- until: text -->`: it is typed again and again, as a reader would, until it ends well and shows this.
 * - `<!-- stays: text -->`: it is typed in a terminal of its own, and has begun when it has shown this.
 * - `<!-- file: path -->`: it is written there.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { manifestOf } from '../../../scripts/build/manifest.mjs'
import { checkout, environmentWith } from '../../../temporal.config.ts'
import type { Block } from './markdown.ts'

export interface Reader {
  directory: string
  /** Runs a block, and returns its output. */
  follow(block: Block): Promise<string>
  /** Sends Ctrl-C to the remaining terminals, and returns their output after all their processes have ended. */
  interrupt(): Promise<string[]>
  leave(): Promise<void>
}

/** A busy machine takes its time for a page; one block may take three minutes. */
const untilMs = 200_000

/** `empty`: in an empty folder, where `npx` starts what is installed. */
export function openReader({ empty = false } = {}): Reader {
  const directory = mkdtempSync(join(tmpdir(), 'tenure-reader-'))
  // Postgres runs as another user when this one is root.
  chmodSync(directory, 0o711)
  if (!empty) copyCheckout(directory)
  const ports = ['TENURE_PORT', 'TENURE_POSTGRES_PORT', 'TENURE_TEMPORAL_PORT', 'TENURE_TEMPORAL_UI_PORT']
  const unset = [
    'DATABASE_URL',
    'TENURE_OWNER_DATABASE_URL',
    'TENURE_READER_DATABASE_URL',
    'TEMPORAL_ADDRESS',
    'TENURE_PROJECT',
    'TENURE_URL',
    'TENURE_KEY',
  ]
  const environment = environmentWith({
    ...Object.fromEntries(ports.map((name) => [name, '0'])),
    ...Object.fromEntries(unset.map((name) => [name, undefined])),
    TENURE_STATE: join(directory, '.tenure'),
    // npm speaks of its own configuration otherwise.
    npm_config_loglevel: 'silent',
  })
  const options = { cwd: directory, env: environment }
  const shell = openShell(options, { installed: empty })
  const terminals: Terminal[] = []
  return {
    directory,
    async follow({ text, notes, line }) {
      const { file, stays, until, shows } = notes
      if (file !== undefined) {
        mkdirSync(dirname(join(directory, file)), { recursive: true })
        writeFileSync(join(directory, file), `${text}\n`)
        return ''
      }
      if (stays !== undefined) {
        const terminal = openTerminal(text, options)
        terminals.push(terminal)
        await terminal.shows(stays)
        return stays
      }
      const deadline = Date.now() + untilMs
      for (;;) {
        const { out, code } = await shell.type(text)
        const wanted = until ?? shows ?? ''
        if (code === 0 && plain(out).includes(plain(wanted))) return out
        if (until === undefined || Date.now() > deadline)
          throw new Error(
            `the block of line ${line} ended with ${code}; "${wanted}" was to be shown:\n${out}`,
          )
        await pause(500)
      }
    },
    async interrupt() {
      return Promise.all(terminals.splice(0).map((terminal) => terminal.interrupt()))
    },
    async leave() {
      shell.close()
      await Promise.all(terminals.splice(0).map((terminal) => terminal.interrupt()))
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Columns are as wide as what stands in them. */
const plain = (text: string): string => text.replaceAll(/\s+/g, ' ')

/**
 * The files of the project, and a directory of packages in which each is a link to that of this checkout. The directory is the
 * copy's own: the set-up writes into it where its servers are, and a replica puts itself together there.
 */
function copyCheckout(directory: string): void {
  const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], {
    cwd: checkout,
    encoding: 'utf8',
  })
  for (const path of new Set(listed.split('\n')))
    if (path !== '' && !/^(?:test|bench)\//.test(path) && existsSync(join(checkout, path)))
      cpSync(join(checkout, path), join(directory, path), { preserveTimestamps: true })
  const packages = join(directory, 'node_modules')
  mkdirSync(packages)
  for (const name of readdirSync(join(checkout, 'node_modules')))
    if (!own.includes(name)) symlinkSync(join(checkout, 'node_modules', name), join(packages, name))
  // Compiling the same sources again takes 15 s of a core. The set-up of the copy compiles only what is left out: one process.
  const compiled = manifestOf(checkout, 'api/serving/formats/onnx/session-process.ts')
  cpSync(join(checkout, 'dist'), join(directory, 'dist'), {
    recursive: true,
    // A process that runs meanwhile writes a file under another name first.
    filter: (path) => path !== compiled && !/\.(?:\d+|\w{6})$|\/draft-\w+$/.test(path),
  })
}

/** What is made in the directory of packages, and belongs to the checkout that has made it. */
const own = ['.tenure', '.cache', '.vite', '.vite-temp']

interface Place {
  cwd: string
  env: Record<string, string | undefined>
}

/** One bash for all blocks, so that a variable of one is there in the next. */
function openShell(place: Place, { installed }: { installed: boolean }) {
  const child = spawn('bash', ['--noprofile', '--norc'], { ...place, stdio: ['pipe', 'pipe', 'pipe'] })
  let out = ''
  const take = (text: string) => void (out += text)
  child.stdout.setEncoding('utf8').on('data', take)
  child.stderr.setEncoding('utf8').on('data', take)
  let typed = 0
  const command = `node ${quoted(join(place.cwd, 'cli', 'tenure.mjs'))}`
  if (!installed)
    child.stdin.write(
      `npx() { if [ "$1" = tenure ]; then shift; ${command} "$@"; else command npx "$@"; fi; }\n`,
    )
  return {
    async type(block: string): Promise<{ out: string; code: number }> {
      const mark = `--- typed ${++typed}`
      out = ''
      // Whichever command fails, the block has not gone as the page says. What it shows last may have no end of line.
      child.stdin.write(`set -o pipefail; code=0; trap 'code=$?' ERR; eval ${quoted(block)}\n`)
      child.stdin.write(`trap - ERR; for to in 1 2; do printf '\\n%s\\n' "${mark} $code" >&$to; done\n`)
      const end = new RegExp(`^${mark} (\\d+)$`, 'gm')
      while ([...out.matchAll(end)].length < 2) {
        if (child.exitCode !== null) throw new Error(`the shell has ended: ${out}`)
        await pause(20)
      }
      const code = Number(new RegExp(end.source, 'm').exec(out)?.[1])
      return { code, out: out.replaceAll(end, '').trim() }
    },
    close: () => void child.kill(),
  }
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

type Terminal = ReturnType<typeof openTerminal>

/** A terminal in which something runs until Ctrl-C, which goes to everything that was started in it. */
function openTerminal(block: string, place: Place) {
  const child: ChildProcess = spawn('bash', ['-c', block], {
    ...place,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (out += text))
  // Closed is what everything in it has let go of.
  const ended = new Promise((resolve) => child.on('close', resolve))
  let over = false
  void ended.then(() => (over = true))
  return {
    async shows(text: string): Promise<void> {
      while (!out.includes(text)) {
        if (over) throw new Error(`it ended before it showed "${text}":\n${out}`)
        await pause(50)
      }
    },
    async interrupt(): Promise<string> {
      if (!over && child.pid !== undefined) process.kill(-child.pid, 'SIGINT')
      await ended
      return out
    },
  }
}
