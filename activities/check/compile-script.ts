/** Compiles the Python script of a training program without running it, as the interpreter of its model file does. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Trainer } from '../../domain/training/trainer.ts'
import { invalid } from '../../models/define/code-digest.ts'
import { systemEnvironment } from '../../temporal.config.ts'

const compileMs = 60_000

/** Reads the script as bytes, because it may declare its encoding. Writes no bytecode beside it. */
const compile = `
import sys
path, name = sys.argv[1:]
try:
    compile(open(path, "rb").read(), path, "exec")
except (SyntaxError, ValueError) as error:
    line = getattr(error, "lineno", None)
    print(f"{name}:{line}" if line else name, getattr(error, "msg", error), sep=": ")
`

/** Returns whether the interpreter is on this machine. Throws `invalid_model_file` with the line that does not compile. */
export async function compileScript(
  models: string,
  { file, interpreter = 'python3' }: Extract<Trainer, { kind: 'python' }>,
  part: 'train' | 'serve' | 'source' = 'train',
): Promise<boolean> {
  const found = await promisify(execFile)(
    interpreter,
    ['-W', 'ignore', '-c', compile, join(models, file), file],
    { env: systemEnvironment(), timeout: compileMs },
  ).catch(({ code, stderr = '', message }: Error & { code?: unknown; stderr?: string }) => {
    if (code === 'ENOENT') return undefined
    throw invalid(`${part}: ${interpreter} cannot compile ${file}: ${stderr.trim() || message}`)
  })
  const issue = found?.stdout.trim() ?? ''
  if (issue !== '') throw invalid(`${part}: ${issue}`)
  return found !== undefined
}
