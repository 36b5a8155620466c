/**
 * Follows a documentation page in a copy of the checkout. Types each block into one shell that keeps its variables, and checks the output
 * that the page promises.
 *
 * Three things differ from a reader's machine: packages are links to those of this checkout, the state is in a private directory, and ports
 * are free ones (TENURE_PORT=0 …), so that parallel tests do not collide. A page therefore gets the API's address from `tenure status`
 * instead of writing a port. npm takes a second of CPU for each `npx tenure`; only blocks that stay in a terminal run npx, and the
 * shell calls the command that npx would start.
 *
 * The comments above a block control it:
 *
 * - `<!-- shows: text -->`: runs once, must succeed and show the text.
 * - `<!-- until: text -->`: runs repeatedly until it succeeds and shows the text.
 * - `<!-- stays: text -->`: runs in a separate terminal and is ready when it shows the text.
 * - `<!-- file: path -->`: the block is written to this file.
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
import { checkout, environmentWith } from '../../../temporal.config.ts'
import type { Block } from './markdown.ts'

export interface Reader {
  directory: string
  /** Runs a block and returns its output. */
  follow(block: Block): Promise<string>
  /** Sends Ctrl-C to the remaining terminals and returns their output after all their processes have ended. */
  interrupt(): Promise<string[]>
  leave(): Promise<void>
}

/** Time limit of one block, in milliseconds, for a busy machine. */
const untilMs = 200_000

/** Opens a shell in a copy of the checkout; with `empty`, in an empty folder, where `npx` runs the installed package. */
export function openReader({ empty = false } = {}): Reader {
  const directory = mkdtempSync(join(tmpdir(), 'tenure-reader-'))
  // Postgres runs as another user when this one is root.
  chmodSync(directory, 0o711)
  if (!empty) copyCheckout(directory)
  const ports = ['TENURE_PORT', 'TENURE_POSTGRES_PORT', 'TENURE_TEMPORAL_PORT']
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
    // Without it npm prints hints about its own configuration.
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

/** Ignores runs of spaces, because the width of columns depends on their content. */
const plain = (text: string): string => text.replaceAll(/\s+/g, ' ')

/**
 * Copies the project's files and creates a package directory of links to this checkout's packages. The directory is private to the copy:
 * setup records the location of the servers in it, and a replica writes its compiled files there.
 */
function copyCheckout(directory: string): void {
  const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], {
    cwd: checkout,
    encoding: 'utf8',
  })
  for (const path of new Set(listed.split('\n')))
    if (
      path !== '' &&
      !/^(?:test|packages\/lab)\/(?!package\.json$)/.test(path) &&
      existsSync(join(checkout, path))
    )
      cpSync(join(checkout, path), join(directory, path), { preserveTimestamps: true })
  const packages = join(directory, 'node_modules')
  mkdirSync(packages)
  for (const name of readdirSync(join(checkout, 'node_modules')))
    if (!own.includes(name)) symlinkSync(join(checkout, 'node_modules', name), join(packages, name))
  // Compiling the same sources again takes 15 s of CPU.
  cpSync(join(checkout, 'dist'), join(directory, 'dist'), {
    recursive: true,
    // A process that runs at the same time first writes a file under a temporary name.
    filter: (path) => !/\.(?:\d+|\w{6})$|\/draft-\w+$|\/lock$/.test(path),
  })
}

/** Generated entries in the package directory that belong to the checkout that made them. */
const own = ['.tenure', '.cache', '.vite', '.vite-temp']

interface Place {
  cwd: string
  env: Record<string, string | undefined>
}

/** Opens one bash for all blocks, so that a variable set in one block exists in the next. */
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
      // The block fails if any command in it fails. The last line of output may lack a line end.
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

/** Opens a terminal for a command that runs until Ctrl-C; Ctrl-C reaches every process started in it. */
function openTerminal(block: string, place: Place) {
  const child: ChildProcess = spawn('bash', ['-c', block], {
    ...place,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (out += text))
  // `close` fires after every process in the terminal has closed the output.
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
