/** Runs a command line in this process and returns its exit code and output. */
import { PassThrough, Writable } from 'node:stream'
import { vi } from 'vitest'
import { runProgram } from '../../cli/program.ts'

export async function runCommand(
  specs: Parameters<typeof runProgram>[0],
  words: readonly string[],
): Promise<{ code: number; out: string; err: string }> {
  const written = { out: '', err: '' }
  const sink = (name: 'out' | 'err') =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        written[name] += chunk.toString()
        done()
      },
    })
  const code = await runProgram(specs, words, { out: sink('out'), err: sink('err') })
  return { code, ...written }
}

/** Runs a command on a terminal, answers its questions with `answers`, and returns the questions. */
export async function answerCommand(
  specs: Parameters<typeof runProgram>[0],
  words: readonly string[],
  answers: readonly string[],
): Promise<string[]> {
  const asked: string[] = []
  const keyboard = Object.assign(new PassThrough(), { isTTY: true })
  const stdin = vi.spyOn(process, 'stdin', 'get').mockReturnValue(keyboard as unknown as typeof process.stdin)
  const stdout = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    if (!/[?:] (\[y\/N\] )?$/.test(String(text))) return true
    keyboard.write(`${answers[asked.length] ?? 'n'}\n`)
    asked.push(String(text))
    return true
  })
  const out = { write: () => true, isTTY: true, columns: 120, hasColors: () => false }
  await runProgram(specs, words, { out, err: out })
  stdin.mockRestore()
  stdout.mockRestore()
  return asked
}
