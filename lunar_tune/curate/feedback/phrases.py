"""The words of discontent, contentment and second thoughts; English, with a few German, Spanish and French ones.

Every pattern is matched where a clause begins, on text that `plain` made: lower case, contractions written out. So
"wrong" within a sentence, "actually", or "I said" in a story are not even looked at. A pattern has the weight of the
evidence that it is, and says what kind it is; `judge` (reading.py) adds position and similarity.
"""

from __future__ import annotations

import re
from typing import Final

from lunar_tune.curate.signs import signs

SURE, LIKELY, HINT, WEAK, UNCLEAR = 0.9, 0.7, 0.55, 0.4, 0.3  # evidence against the answer, of 1
CORRECTED, REJECTED, AGAIN, UNDONE, ASKED = "corrected", "rejected", "again", "undone", "asked"

_ADVERB = (
    r"(?:(?:all|totally|completely|just|still|also|clearly|definitely|simply|plainly?|even|really|so|actually|again|very|quite|"
    r"obviously|entirely|factually|slightly|partly) )*"
)
_THING = (
    r"(?:answer|reply|response|code|solution|result|output|calculation|translation|summary|math|maths|number|date|"
    r"link|url|command|function|script|query|order|list|total|sum|address|name|time|format|example|version|fix)s?"
)
_IT = (
    rf"(?:that|this|it|these|those|they|which|everything|your \w+(?: \w+)?|the {_THING}(?: you \w+(?: \w+)?)?|"
    rf"(?:that|this|these|those) {_THING}|(?:what|the one) you \w+(?: \w+)?)"
)
_IS = r"(?:is|are|was|were|looks?|seems?|sounds?|feels?|came out|comes out)"
_BAD = (
    r"(?:wrong|incorrect|inaccurate|nonsense|garbage|rubbish|bullshit|false|mistaken|broken|useless|unhelpful|"
    r"made up|outdated|backwards|way off|(?:even )?(?:worse|slower)|invalid|the wrong|a (?:lie|mess)|"
    r"off by \w+|hallucinated|not (?:right|correct|true|accurate|it|what|the|how|where|who|quite|close|helpful|an? "
    r"(?:valid|real|actual|proper|correct|complete|good)|"
    r"enough|working|valid|possible|answering|in (?:the|my)|even|relevant|complete|funny|english|there))"
)
_GENERAL = (
    r"(?! (?:to|that|of (?:me|him|her|them|us|you)|when|if|with (?:me|my|him|her|us|them)|for (?:people|someone)|"
    r"problem|issue|end of|matter|big deal|point of)\b)"
)
_DOES_NOT = r"(?:(?:do|does|did|will|would|is|are|was|were|can|could)(?:es)? not|never|no longer|fails? to|failed to)"
_WORK = (
    r"(?:work|compile|run|help|exist|match|make (?:any |much |a lot of )?sense|build|load|fix|answer|parse|open|add up|"
    r"solve|change|do (?:anything|what|it|that|the)|look right|look correct|seem (?:right|correct)|sound right|pass|"
    r"have what|contain|include|fit|reflect|cover|show)(?:ing)?"
)

# weight, kind, patterns of a clause's beginning
CLAUSES: Final[tuple[tuple[float, str, str], ...]] = (
    (
        SURE,
        UNDONE,
        r"(?:please |can you |could you )*(?:undo|revert|roll ?back|take back|rückgängig|deshaz|annule)"
        r"(?: that| this| it| the last \w+| your (?:last )?\w+| what you (?:just )?did| das| eso| ça)?(?: please)?$"
        r"|(?:please |can you |could you )*(?:get|bring|give) (?:me )?(?:it|that|this|them|everything|the \w+) back\b"
        r"|(?:please )?(?:put|change|set|switch|turn|move) (?:it|that|this|them|everything) back(?: please)?"
        r"(?: (?:to|the way|how|as)\b.*)?$",
    ),
    (
        SURE,
        REJECTED,
        rf"{_IT} {_IS} {_ADVERB}{_BAD}{_GENERAL}"
        rf"|{_IT} {_IS} {_ADVERB}not (?:right|correct|true|it|what)\b{_GENERAL}"
        rf"|{_IT} {_ADVERB}{_DOES_NOT} {_ADVERB}{_WORK}\b"
        r"|(?:that|this|it) (?:makes|made) (?:no|zero|little) sense"
        r"|(?:no )?(?:it|that|this|they|you) (?:does|do|did|is|are|was|were|has|have|can|could|will|would) not$"
        r"|i (?:do not|don't|did not) understand (?:a|one|any) (?:single )?(?:word|thing)|i can not (?:do anything|"
        r"work) with"
        r"|(?:wrong|incorrect|false|nonsense|rubbish|garbage|bullshit|bs|useless|terrible|fail|falsch|quatsch|unsinn|"
        r"incorrecto|mal|faux|incorrect[oae]?|mauvaise réponse|respuesta incorrecta|wrong again|dead wrong)$"
        r"|not (?:correct|right|true|helpful|quite right|even close|what i|working|that one|it)\b"
        r"|(?:you|u) (?:are|were) (?:wrong|mistaken|incorrect|not (?:listening|helping|answering|reading)|"
        r"confus(?:ed|ing)"
        r"|making (?:this|that|it|things|stuff) up|hallucinating|useless)"
        r"|(?:you|u) (?:just |again |clearly |completely |totally |seem to have |must have )*(?:misunderstood|misread|"
        r"misheard|misunderstand|misinterpreted|hallucinated|messed (?:up|it|this|that)|screwed up|made (?:that|this|"
        r"it|"
        r"things) up|got (?:it|that|this|them|the \w+|my \w+) (?:all )?wrong|broke (?:it|the|my|something|everything))"
        r"|i (?:still )?(?:do not|don't) (?:think|believe) (?:that|this|it|you|those|these)(?: \w+){0,2}? (?:is|are|"
        r"was|were)"
        rf" {_ADVERB}(?:right|correct|true|accurate|what|valid|it|how)"
        r"|das (?:ist|war) (?:\w+ )?(?:falsch|nicht (?:richtig|korrekt|das|was))|das stimmt (?:so |leider )*nicht"
        r"|(?:das|es) (?:geht|funktioniert|klappt) (?:immer noch |so |leider )*nicht"
        r"|(?:eso|esto) (?:está mal|es incorrecto|no es (?:correcto|lo que|cierto))|no es (?:correcto|lo que)"
        r"|(?:sigue sin funcionar|no funciona|te equivocas|te has equivocado|estás equivocado)"
        r"|(?:c'est|c est|ce n'est) (?:pas (?:correct|ça|juste|bon|ce que|vrai)|faux|incorrect|une erreur)"
        r"|(?:ça|cela) ne (?:marche|fonctionne) (?:toujours )?pas|tu te trompes|vous vous trompez|du irrst dich",
    ),
    (
        SURE,
        CORRECTED,
        r"(?:what )?i (?:actually |really |obviously |clearly )*meant\b(?! (?:it|well|every|no|to (?:say (?:thank|"
        r"hi)|thank|ask|tell|"
        r"mention|send|write|call|do|come|get|go|buy|bring|reply|post|email|share))\b)"
        r"|i (?:specifically |clearly |actually |originally |only |just )*(?:asked|told) (?:you|for|about)\b"
        r"|i (?:have )?(?:already |just |clearly |specifically |explicitly |only )+(?:said|told|asked|mentioned|gave|"
        r"explained|"
        r"specified|needed|wanted)\b(?! (?:him|her|them|my|everyone|people|to (?:say|thank|ask|let|tell|share|"
        r"mention)))"
        r"|i have (?:told|asked) you\b|i wanted (?:it|the|a|to (?:see|read|look|hear|keep))\b"
        r"|i (?:was (?:asking|talking|looking)|am (?:asking|talking)) (?:about|for)\b"
        r"|i (?:did not|never) (?:ask|want|mean|say|tell|request|mention)(?:ed|d)?\b(?! (?:to (?:be|bother|offend|"
        r"hurt|sound|"
        r"come|interrupt)))"
        r"|i (?:wanted|needed|want|need) (?:\S+ ){1,8}?(?:not|instead|rather than)\b"
        r"|(?:you|u) (?:just |again |also |still |completely |totally |only |even |have )*(?:forgot(?! to (?:ask|"
        r"mention|say))|ignored|skipped|left out|"
        r"mixed up|confused|overlooked|swapped|misspelled|mistranslated|omitted|duplicated|hardcoded|dropped)\b"
        r"|(?:you|u) (?:just |only |again )*(?:used|took|picked|chose|called|sent|opened|edited|changed|gave|answered|"
        r"deleted|booked|played|looked|searched|did|added|counted|set|wrote|read|ran|put|fixed|updated|made)\b"
        r"(?: \S+){0,4}? (?:wrong|mistake|error|twice|only half)\b"
        r"|(?:you|u) (?:were (?:supposed|meant|asked) to|should have)\b(?! seen)"
        r"|wrong(?: (?!(?:answers|to|that|of|with|when|in)\b)\w+){1,2}$"
        r"|i said (?!to\b|that\b|i\b|we\b|he\b|she\b|they\b|hello|goodbye|yes|no\b)(?:\S+ ?){1,4}$"
        r"|(?:ich meinte|ich (?:habe|hatte) (?!ihm|ihr|ihnen|mir|uns).{0,30}(?:gemeint|gesagt|gefragt)|te lo (?:he "
        r"dicho|dije)|ya te (?:dije|lo)|je t'ai (?:déjà )?dit|nicht das|ich wollte .{0,60}nicht|me refería a|quise "
        r"decir|quería decir|"
        r"je voulais (?:dire|parler)|je parlais de|yo pedí|te pedí|j'ai demandé|ich habe (?:doch |dich )?(?:nach|um|"
        r"gesagt|"
        r"gefragt)|du hast .{0,60}(?:vergessen|falsch)|du solltest|olvidaste|has olvidado|tu as oublié|vous avez "
        r"oublié)\b",
    ),
    (
        LIKELY,
        REJECTED,
        r"still (?:not|wrong|broken|failing|fails|crash\w*|the same|getting|an? (?:error|issue)|nothing|incorrect|"
        r"missing|"
        r"(?:does|do|is|are|did|can) not|no (?:luck|output|result|change|difference|sound|answer|joy))\b"
        r"|i (?:am )?(?:still )?(?:get|getting|got|see|seeing|have|having) (?:exactly )?(?:the|that) (?:very )?same\b"
        r"|i (?:am )?still (?:get|getting|see|seeing|have|having)\b(?! (?:to|time|some|a few|my)\b)"
        r"|(?:exactly )?(?:the )?same (?:error|problem|issue|result|mistake|thing|message|exception|output|story|"
        r"answer)\b"
        r"|(?:that|this|it) (?:did not help|changes nothing|changed nothing)|nothing (?:happens|happened|changed|"
        r"works)\b"
        r"|no (?:luck|change|difference|effect)$|now (?:it|i|there|the|everything|nothing|all)\b.{0,60}?\b(?:error|"
        r"crash\w*|"
        r"fail\w*|broken?|breaks|wrong|missing|gone|worse|empty|not|nothing)\b"
        r"|immer noch (?:nicht|falsch|der|die|das)|toujours (?:pas|la même|le même)|sigue (?:igual|mal|fallando|dando)"
        r"|(?:mismo error|même erreur|gleicher fehler|derselbe fehler)"
        r"|(?:wtf|are you (?:kidding|serious|joking|dumb|stupid|blind|even)|what the (?:hell|heck|fuck)|bad bot|you "
        r"suck)\b"
        r"|(?:this|that) (?:is|was) (?:not an answer|no (?:help|good|use|answer))",
    ),
    (
        LIKELY,
        CORRECTED,
        r"(?:you|u) (?:did not|have not|do not|never|keep|only|kept)\b(?! (?:have|need|know|mind|want|worry|happen|"
        r"think|say|live|going|it up)\b)"
        r"|(?:you|u) missed (?:the|one|a|some|my|that|this|two|out the|line|step)\b(?! (?:great|good|party|show|fun))"
        r"|(?:it|that|this|they|there|those|these|he|she) (?:really )?(?:should|must|was supposed to|were supposed to) "
        r"(?:not )?(?:have )?(?:be|been|say|read|return|have|contain|use|start|end|come|go|only|include)\b"
        r"|should(?: not)? (?:it|that|this|they|you|there)(?: not)? (?:be|have|return|use|say|only)\b"
        r"|should (?:be|have been|say|read|return)\b"
        r"|(?:there is|there are) no such\b"
        r"|stop (?:doing|saying|adding|using|making|repeating|calling|apologi[sz]ing|giving|sending|writing|changing)\b"
        r"|(?:please )?(?:correct|fix) (?:your|the (?:mistake|error) (?:in your|you))\b"
        r"|(?:the|your) (?:correct|right|actual|real) (?:answer|one|name|number|date|value|spelling|order|time|city|"
        r"result"
        r"|word|term|translation|formula)\b(?: \S+)? (?:is|was|should)\b",
    ),
    (
        HINT,
        REJECTED,
        r"(?:that|this|it) (?:is )?still\b(?! (?:early|great|good|fine|ok|nice|a (?:great|good|nice)))"
        r"|(?:das|es|er|sie) \w+ (?:immer )?noch\b|(?:ça|cela|il|elle) \w+ toujours\b|(?:eso|esto) (?:me )?(?:da|"
        r"sale|devuelve)\b",
    ),
    (
        HINT,
        AGAIN,
        r"(?:please |can you |could you |just )*(?:try (?:it |that |this )?(?:again|harder|once more|one more time)|"
        r"redo|"
        r"retry|do (?:it|that|this) (?:over|again)|run (?:it|that) again|check (?:it |that |this )?again|look again|"
        r"double check|(?:think|guess|look|count|check) again|(?:another|a (?:better|different)) (?:suggestion|"
        r"attempt|try|"
        r"answer|version|wording)\b|read (?:it|that|my \w+|the \w+) again|versuch es (?:noch ?mal|erneut)|"
        r"(?:inténtalo|prueba|intenta) (?:de nuevo|otra vez)|réessaie|essaie encore|recommence|nochmal,? (?=\w)|"
        r"encore (?:une fois )?mais)\b",
    ),
    (
        HINT,
        CORRECTED,
        r"(?:way |much |far |a bit |a little |still )*too (?:long|short|formal|informal|complicated|complex|vague|"
        r"verbose|"
        r"generic|technical|wordy|detailed|basic|salesy|casual|broad|fancy)\b"
        r"|(?:that|this|it|das) (?:is|are|was|soll) (?:supposed|meant|\w+ sein$)(?: to be)?\b"
        rf"|{_IT} {_IS} (?:\w+ )?too (?:long|short|formal|informal|complicated|complex|vague|verbose|generic|technical|"
        r"wordy|detailed|basic|salesy|casual|broad|fancy)\b"
        r"|i (?:do not|don't) (?:like|want|need) (?:that|this|it|those|these|your)\b",
    ),
    (
        WEAK,
        CORRECTED,
        r"(?:please |can you |could you )*(?:amend|correct|rename|fix) (?:it|that|this|the \w+)\b"
        r"|(?:switch|turn|set|put|take|open|close|move) (?:it|that|this|them) (?:\w+ )?again\b"
        r"|(?:this|that|it) (?:gives|returns|prints|outputs|throws|shows|puts|deletes|makes|produces)\b(?! me (?:an "
        r"idea|hope))",
    ),
    (
        WEAK,
        ASKED,
        r"(?:are you (?:really |absolutely |quite |100% )?(?:sure|certain)|(?:is|was) (?:that|this|it) (?:really |"
        r"actually )?"
        r"(?:right|correct|true|accurate)|really|seriously|come on|hm+ (?:really|are)|that (?:does not|can not)|"
        r"i (?:do not|don't) think so|i doubt|bist du sicher|estás seguro|tu es sûr|you sure)\b",
    ),
    (
        UNCLEAR,
        ASKED,
        r"(?:what (?:do|did) you mean|what does (?:that|this|it) mean|huh|(?:sorry )?what$|i (?:do not|don't) "
        r"(?:understand|"
        r"get (?:it|that|this)|follow)|(?:can|could) you (?:please )?(?:explain|clarify|elaborate)|please (?:explain|"
        r"clarify)"
        r"|explain|clarify|why (?:is|did|do|does|would|not)|why$|how so|where (?:did|do) you get|was meinst du|"
        r"qué quieres decir|que veux-tu dire|i am confused|confused)\b",
    ),
)

LEADING: Final = re.compile(
    r"(?:(?:no+|nope|nah|na|lol|omg|oops|sorry|wait|hm+|ah|oh|ok|okay|but|well|hey|um+|uh+|er+|actually|yeah|yes|and|"
    r"so|hold on|"
    r"hang on|excuse me|unfortunately|honestly|sadly|argh+|ugh+|again|also|however|except|though|although|i think|"
    r"i believe|i am afraid|i guess|pretty sure|just|see|look|listen|dude|man|bro|my bad|my mistake|to be clear|what|"
    r"i (?:just )?(?:checked|tried|tested|looked|ran)(?: (?:it|that|this|again))?(?: and)?|nein|ne|doch|nö|aber|also|"
    r"non|mais|"
    r"pero|lo siento|perdón|pardon|désolé|entschuldigung|leider|por favor|bitte|please)(?: |$))+"
)
DENIAL: Final = re.compile(r"(?:(?:sorry|hm+|wait|ok|well|but|um+|lol|what) )*(?:no+|nope|nah|nein|nö|non)\b")
BUT: Final = re.compile(r"(?:but|however|except|though|although|only|aber|pero|mais)\b")
CONTRAST: Final = re.compile(
    r"(?:and |but |so )?(?:not|instead of|rather than|nicht|kein\w*|no|pas|en lugar de)\b (?P<what>\S+(?: \S+){0,3})$"
)
SHORT_CONTRAST: Final = re.compile(
    r"(?!.*\b(?:is|are|was|were|am|do|does|did|can|could|will|would|have|has|had|should|may|i|you|it|that|this|we|"
    r"they|bad|yet|now|"
    r"sure|really|today)\b)\W*(?:[\w'-]+ ){0,3}[\w'-]+,? (?:not|nicht|pas) (?:[\w'-]+ ?){1,3}\W*"
)
PLEASED_SIGNS: Final = signs("thanks thank thx danke gracias merci cheers amazing phew wow haha hahaha cool")
PLEASED_MARKS: Final = (":)", ":-)", ":d", ":-d", ";)", ";-)", "😂", "😄", "😀", "😊", "👍", "🎉")
PROTEST_MARKS: Final = ("!!", "??", "?!", "!?", "omg", "wtf", "argh", "lol no", " no!")
TAKEN_BACK_MARKS: Final = ("but fine", "but ok", "but whatever", "but no matter", "but anyway", "if you ask me")
TAKEN_BACK_SIGNS: Final = signs(
    "kidding jk never nevermind nvm wrong right scratch forget misread misunderstood works worked recht razón raison"
)
ELSEWHEN_SIGNS: Final = signs("earlier before previously yesterday last first ago then once other")
OFFER_SIGNS: Final = signs("let would want shall should just")
PLEASED: Final = re.compile(
    r"\b(?:thanks|thank you|thx|danke|gracias|merci|cheers|amazing|phew|wow|haha+|cool)\b|:-?[d)]|;-?\)|[😂😄😀😊👍🎉]"
)
NO_HARM: Final = re.compile(
    r"(?:no+|nope|nah|nein|non) (?:thanks?|thank|thx|problem|worries|worry|need|idea|rush|hurry|way|doubt|wonder|"
    r"offen[sc]e|"
    r"biggie|probs?|matter|kidding|more|that is (?:all|it|fine|ok|okay|good|great|perfect|enough|everything)|"
    r"it is (?:ok|okay|fine|good|all)|i am (?:good|fine|ok|okay|done|all|happy|not)|all good|just|one|nothing|you|"
    r"danke|gracias|merci|i (?:do not|have not|did not|have|will|can|would|was)|not (?:yet|now|today|really|at all|for|"
    r"at the|that i|right)|we|he|she|they|go ahead|please|stress|pressure|objections?)\b"
)
GOOD: Final = re.compile(
    r"(?:ok(?:ay)? |oh |ah |wow |yes |yeah |haha |cool |hm+ |no |so |alright |well )*(?:thanks?|thank you|thx|ty|"
    r"tysm|cheers|"
    r"perfect|great|awesome|excellent|amazing|wonderful|brilliant|fantastic|lovely|nice|cool|beautiful|superb|"
    r"good (?:job|work|one|answer|point|catch|idea|bot)|well done|love it|i love (?:it|this|that)|exactly|"
    r"(?:that|this|it) (?:works?|worked|helps?|helped|did it|did the trick|solved)|(?:that|this|it) is (?:(?!not|in|"
    r"far|wrong|hardly|less)\w+ )?(?:right|"
    r"correct|perfect|great|good|exactly|amazing|awesome|helpful|nice|better|what i (?:wanted|needed|meant))|"
    r"you (?:are|were) (?:(?!not)\w+ )?(?:right|correct|amazing|awesome|great|the best|welcome)|correct|right|yes|"
    r"yep|yup|"
    r"not bad|no complaints|much appreciated|appreciate|works|worked|got it|makes sense|sounds good|looks good|lgtm|"
    r"danke|super|prima|perfekt|genau|gracias|perfecto|genial|merci|parfait|you should not have)\b"
)
TAKEN_BACK: Final = re.compile(
    r"\b(?:just kidding|kidding|jk|never ?mind|nvm|i was wrong|you (?:are|were) (?:actually |totally |absolutely "
    r")?right|"
    r"scratch that|forget it|i misread|i misunderstood|my mistake you|it works now|works now|it worked|du hast recht|"
    r"tienes razón|tu as raison)\b"
)
ELSEWHEN: Final = re.compile(
    r"\b(?:earlier|before that|previously|yesterday|last (?:time|week|month|year|night)|first answer|ages ago|back "
    r"then|"
    r"years ago|once told|the other day)\b"
)
GOES_ON: Final = re.compile(
    r"(?:and|also|now|then|next|another|one more|what about|how about|same|additionally|plus|more|more about|next up)\b"
)
ADMITS: Final = re.compile(
    r"(?:oh |ah |oops |yes |ok |okay |right |ja |sí |oui )*(?:(?P<fault>i (?:had|got|read|took|counted|put|mixed) "
    r"(?:it|that|this|"
    r"them|up|the \w+)(?: \w+)? (?:backwards|wrong(?:ly)?|up|digits|the wrong way)|i should (?:not )?have|i am (?:so|"
    r"very|really|"
    r"terribly) sorry(?! (?:to hear|but|for your|that you))|that was (?:wrong|my)|i (?:confused|mixed up|mistook|"
    r"miscounted|"
    r"misjudged|misunderstood|misread|misheard|misinterpreted|overlooked|got (?:that|it|this) wrong|made (?:a|an) "
    r"(?:mistake|error)|"
    r"was wrong|messed up|missed (?:that|the))|my (?:mistake|bad|error|fault|apologies)|(?:good|nice|great) catch|"
    r"thanks? (?:you )?for (?:the correction|catching|pointing|correcting)|(?:i (?:sincerely |deeply |do "
    r")?apologi[sz]e|"
    r"(?:my |sincere )?apologies|sorry) (?:about that|for (?:the|my|that|any) (?:\w+ )?(?:mistake|error|confusion|"
    r"mix-?up|"
    r"misunderstanding|oversight|slip|misread|wrong|incorrect|mess|inaccura)\w*)|mein fehler|entschuldigung|du hast "
    r"recht|"
    r"sie haben recht|you are (?:\w+ )?right(?: to|[,:.!—-]+ (?:it|that|the|there|i|my|sorry|this)\b)|tienes razón|"
    r"tu as raison|vous avez raison|perdón|désolé pour)"
    r"|you are (?:\w+ )?right|i (?:sincerely )?apologi[sz]e|sorry about that|apologies|i see what you mean)"
)
