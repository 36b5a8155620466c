/** Runs a command line in this process and returns its exit code and output. */
import { Writable } from 'node:stream'
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
