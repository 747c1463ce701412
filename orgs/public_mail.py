"""Domains at which anybody gets a mailbox: no organization owns the people there."""

_NAMES = """
gmail.com googlemail.com outlook.com outlook.de outlook.fr outlook.jp hotmail.com hotmail.co.uk
hotmail.de hotmail.fr hotmail.it hotmail.es live.com live.co.uk live.de live.fr live.nl msn.com
passport.com yahoo.com yahoo.co.uk yahoo.co.in yahoo.co.jp yahoo.de yahoo.fr yahoo.it yahoo.es
yahoo.com.br yahoo.ca ymail.com rocketmail.com icloud.com me.com mac.com aol.com aim.com proton.me
protonmail.com protonmail.ch pm.me tutanota.com tutanota.de tuta.io tuta.com keemail.me gmx.com
gmx.de gmx.net gmx.at gmx.ch web.de freenet.de t-online.de arcor.de posteo.de posteo.net
mailbox.org mail.de mail.com email.com usa.com zoho.com zohomail.com fastmail.com fastmail.fm
hey.com hushmail.com runbox.com startmail.com disroot.org riseup.net yandex.com yandex.ru ya.ru
mail.ru bk.ru inbox.ru list.ru internet.ru rambler.ru qq.com foxmail.com 163.com 126.com yeah.net
sina.com sina.cn sohu.com aliyun.com naver.com daum.net hanmail.net kakao.com nate.com
rediffmail.com orange.fr wanadoo.fr free.fr laposte.net sfr.fr neuf.fr libero.it virgilio.it
tiscali.it alice.it tin.it seznam.cz centrum.cz wp.pl o2.pl onet.pl interia.pl op.pl ukr.net i.ua
abv.bg uol.com.br bol.com.br terra.com.br ig.com.br comcast.net verizon.net att.net sbcglobal.net
bellsouth.net cox.net charter.net earthlink.net juno.com btinternet.com sky.com virginmedia.com
ntlworld.com talktalk.net bigpond.com optusnet.com.au telstra.com shaw.ca rogers.com sympatico.ca
telenet.be skynet.be ziggo.nl kpnmail.nl xs4all.nl home.nl planet.nl bluewin.ch hispeed.ch
mailinator.com guerrillamail.com 10minutemail.com temp-mail.org yopmail.com trashmail.com duck.com
mozmail.com simplelogin.com anonaddy.com privaterelay.appleid.com
"""
DOMAINS = frozenset(_NAMES.split())
