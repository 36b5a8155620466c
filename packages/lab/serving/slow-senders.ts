/**
 * Holds connections and sends almost nothing: a third send headers byte by byte, a third bodies, a third keep idle connections open.
 * A closed connection is reopened. `node --import tsx packages/lab/serving/slow-senders.ts <url> <count>` prints `held` when all are open.
 */
import { connect } from 'node:net'

const [url = '', count = '0'] = process.argv.slice(2)
const { hostname, port, pathname } = new URL(url)
const everyMs = 1_000
const againMs = 1_000

const beginnings = [
  `POST ${pathname} HTTP/1.1\r\nhost: ${hostname}\r\nx-slow: `,
  `POST ${pathname} HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\ncontent-length: 4000\r\n\r\n{`,
  `GET /livez HTTP/1.1\r\nhost: ${hostname}\r\n\r\n`,
]

function hold(kind: number, onHeld: () => void): void {
  const socket = connect(Number(port), hostname)
  let timer: NodeJS.Timeout | undefined
  socket.on('connect', () => {
    onHeld()
    socket.write(beginnings[kind]!)
    if (kind < 2) timer = setInterval(() => socket.write('a'), everyMs)
  })
  socket.on('data', () => {})
  socket.on('error', () => {})
  socket.on('close', () => {
    clearInterval(timer)
    setTimeout(() => hold(kind, () => {}), againMs)
  })
}

const wanted = Number(count)
let begun = 0
let stood = 0
// A few at a time: the cost of holding is measured, not of accepting.
const timer = setInterval(() => {
  for (let each = 0; each < 40 && begun < wanted; each++)
    hold(begun++ % beginnings.length, () => {
      if (++stood === wanted) console.log('held')
    })
  if (begun >= wanted) clearInterval(timer)
}, 10)
process.on('disconnect', () => process.exit(0))
