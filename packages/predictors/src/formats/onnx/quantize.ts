/** Quantizes the weights of a graph to 8 bits by a program of Python, which calls ONNX Runtime's own tool. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { refuse } from '../../errors.ts'
import type { Quantizer } from '../../format-names.ts'
import type { CompressedFiles, EncodedRows } from '../format.ts'
import type { OnnxGraph } from './graph.ts'
import type { OnnxLayout } from './layout.ts'

/** Below the limit of the process that asks for it. */
const limitMs = 100_000

const quantized = /^(?:Dynamic)?(?:Quantize|Dequantize)Linear$|^QLinear|Integer$/

/** Why no weights of the graph can get fewer bits; undefined when they may. */
export function issueOfTrees({ operators }: Pick<OnnxGraph, 'operators'>): string | undefined {
  const trees = [...operators].find((op) => op.startsWith('TreeEnsemble'))
  return (
    trees && `${trees} has no weights to compress: compress the file of the library that the trees come from`
  )
}

/** Why the tool would make no smaller graph; undefined when it may. */
export function issueOfQuantizing(
  { operators }: Pick<OnnxGraph, 'operators'>,
  { inputs }: Pick<OnnxLayout, 'inputs'>,
): string | undefined {
  const known = [...operators].find((op) => quantized.test(op))
  if (known !== undefined) return `the graph is quantized already: it has ${known}`
  return inputs.some(({ type }) => type === 'string')
    ? 'the graph takes texts, and the tool chooses its scales by rows of numbers'
    : undefined
}

/** Throws `artifact_invalid`. */
export async function quantizeOnnx(
  bytes: Uint8Array,
  layout: OnnxLayout,
  { input, rows, width }: EncodedRows,
  { command, folder }: Quantizer,
): Promise<{ bytes: Uint8Array } & Pick<CompressedFiles, 'counts'>> {
  const [model, to, values] = ['model.onnx', 'quantized.onnx', 'rows.f64'].map((name) => join(folder, name))
  await writeFile(model!, bytes)
  await writeFile(values!, new Uint8Array(input.buffer, input.byteOffset, rows * width * 8))
  const job = { model, to, rows: values, inputs: layout.inputs, width }
  const { refused, counts = {} } = await run(command, folder, `${JSON.stringify(job)}\n`)
  if (refused !== undefined) refuse(refused)
  return { bytes: await readFile(to!), counts }
}

async function run(
  [file = '', ...argv]: readonly string[],
  folder: string,
  job: string,
): Promise<{ refused?: string; counts?: CompressedFiles['counts'] }> {
  const child = spawn(file, argv, {
    timeout: limitMs,
    killSignal: 'SIGKILL',
    env: { TMPDIR: folder },
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  })
  // A program that has ended reads nothing.
  child.stdin!.on('error', () => {}).end(job)
  const pipe = child.stdio[3]!.on('error', () => {})
  // What it has started ends when the pipe closes.
  child.once('exit', () => pipe.destroy())
  const [[code, signal], answer, complaint] = await Promise.all([
    once(child, 'close') as Promise<[number | null, string | null]>,
    text(child.stdout!),
    text(child.stderr!),
  ])
  if (code !== 0)
    refuse(
      `the tool of ONNX Runtime ended with ${signal ?? code}: ${complaint.trim().split('\n').at(-1)?.slice(0, 500) ?? ''}`,
    )
  return JSON.parse(answer.trim().split('\n').at(-1) ?? '') as Awaited<ReturnType<typeof run>>
}
