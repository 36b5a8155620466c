/**
 * Prints how often each banned phrase and private name stands in sources, tests and pages, and where; every count is 0.
 * `npm run words`, or `npm run words -- domain docs` for some folders.
 */
import { countWords, issuesOfWords } from '../test/tidy/words.ts'
import { readTexts } from '../test/tidy/source.ts'

const folders = process.argv.slice(2)
const texts = readTexts().filter(
  ({ path }) => folders.length === 0 || folders.some((each) => path.startsWith(each)),
)
for (const issue of issuesOfWords(texts)) console.log(issue)
for (const [word, count] of Object.entries(countWords(texts)))
  console.log(`${String(count).padStart(5)}  ${word}`)
