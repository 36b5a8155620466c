/** Prints the roses of 30 days, of which some bloom, as JSON for `roses.py`. */
import { seededRandom } from '@tenure/sequential'

const roses = Array.from({ length: 30 * 60 }, (_, at) => {
  const chance = seededRandom(at)
  const size = Math.round(chance() * 1000) / 100
  const colour = chance() < 0.5 ? 'red' : 'white'
  const blooms = chance() < 1 / (1 + Math.exp(5 - size - (colour === 'red' ? 2 : -2)))
  return { size, colour, age: chance() < 0.1 ? null : Math.round(chance() * 80), blooms }
})
process.stdout.write(JSON.stringify(roses))
