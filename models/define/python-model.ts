/** Runs a model file in Python in a child process, which prints what it says as words of the vocabulary with their arguments. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { promisify } from 'node:util'
import { bareEnvironment } from '@tenure/embedded/install/machine'
import { visibleText } from '../../domain/visible-text.ts'
import { home } from '../../project.mjs'
import { invalid } from './code-digest.ts'
import type { PrintedModel } from './printed-model.ts'

/** Whether a file is a model file in Python, and not a program or a module of one. A folder and a link that leads nowhere are none. */
export async function isPythonModel(path: string): Promise<boolean> {
  if (extname(path) !== '.py') return false
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EISDIR' || error.code === 'ENOENT') return ''
    throw error
  })
  return /\bdefine_model\s*\(/.test(text)
}

/** The program ends itself a little earlier, so that it outlives neither this process nor its time. */
const limitMs = 20_000
const maxMemoryKib = 1_048_576
const maxOutputBytes = 16_777_216
const interpreter = 'python3'
const sources = join(home, 'packages', 'python', 'src')

const run = promisify(execFile)

/** Whether this machine has Python, which reads the model files in it. */
export const hasPython = (): Promise<boolean> =>
  run('/bin/sh', ['-c', `command -v ${interpreter}`], { env: bareEnvironment() }).then(
    () => true,
    () => false,
  )

/** Runs a model file in Python. Throws `invalid_model_file`. */
export async function printPythonModel(path: string): Promise<PrintedModel> {
  const script = 'ulimit -d "$0" 2>/dev/null; exec "$@"'
  try {
    const { stdout } = await run(
      '/bin/sh',
      ['-c', script, String(maxMemoryKib), interpreter, '-m', 'tenure.define', path],
      {
        cwd: sources,
        env: {
          ...bareEnvironment(),
          PYTHONPATH: sources,
          PYTHONDONTWRITEBYTECODE: '1',
          PYTHONHASHSEED: '0',
        },
        timeout: limitMs,
        killSignal: 'SIGKILL',
        maxBuffer: maxOutputBytes,
      },
    )
    return JSON.parse(stdout) as PrintedModel
  } catch (error) {
    throw invalid(reasonFor(error as { code?: unknown; signal?: string; stderr?: string; message: string }))
  }
}

const maxLength = 300

function reasonFor({
  code,
  signal,
  stderr = '',
  message,
}: {
  code?: unknown
  signal?: string
  stderr?: string
  message: string
}): string {
  if (code === 127)
    return `there is no ${interpreter} on this machine, which reads model files in Python: install it`
  if (signal === 'SIGALRM' || signal === 'SIGKILL')
    return 'it was not read within 15 s: an endless loop, or work that belongs into train(job)'
  const [last = message] = visibleText(stderr).trim().split('\n').slice(-1)
  return `${interpreter} cannot read it: ${last.slice(0, maxLength)}`
}
