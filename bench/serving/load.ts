/**
 * Runs a closed load where wrk is not installed: each connection sends the next request after the response.
 * `node --import tsx bench/serving/load.ts <url> <body file> <connections> <seconds>` prints one line of JSON.
 */
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'

const [url = '', bodyFile = '', connections = '1', seconds = '3', authorization = ''] = process.argv.slice(2)
const { hostname, port, pathname } = new URL(url)
const body = readFileSync(bodyFile)
const request = Buffer.concat([
  Buffer.from(
    `POST ${pathname} HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\n` +
      (authorization === '' ? '' : `authorization: ${authorization}\r\n`) +
      `content-length: ${body.byteLength}\r\n\r\n`,
  ),
  body,
])
const times: number[] = []
let errors = 0
const began = performance.now()
const until = began + Number(seconds) * 1_000

/** Length of the response, once its head is complete. */
function lengthOf(bytes: Buffer): number | undefined {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const length = /content-length: (\d+)/i.exec(bytes.toString('latin1', 0, end))?.[1]
  return end + 4 + Number(length)
}

function open(): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname)
    let sentAt = 0
    let got = Buffer.alloc(0)
    const send = (): void => {
      sentAt = performance.now()
      socket.write(request)
    }
    socket.on('connect', send)
    socket.on('data', (chunk) => {
      got = got.byteLength === 0 ? chunk : Buffer.concat([got, chunk])
      const length = lengthOf(got)
      if (length === undefined || got.byteLength < length) return
      if (got[9] !== 0x32) errors++
      const now = performance.now()
      times.push(now - sentAt)
      got = Buffer.alloc(0)
      if (now < until) send()
      else socket.end()
    })
    socket.on('error', () => errors++)
    socket.on('close', () => resolve())
  })
}

await Promise.all(Array.from({ length: Number(connections) }, open))
const tookS = (performance.now() - began) / 1_000
times.sort((a, b) => a - b)
const at = (share: number): number => Math.round(1_000 * (times[Math.floor(share * times.length)] ?? 0))
console.log(
  JSON.stringify({ rps: times.length / tookS, p50_us: at(0.5), p95_us: at(0.95), p99_us: at(0.99), errors }),
)
